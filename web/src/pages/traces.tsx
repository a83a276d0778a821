import { useState } from 'preact/hooks'
import { query, useData } from '../data'
import { ago, clock, count, duration, nanos, stamp } from '../format'
import { AppFilter, Filter, Filters, FunctionFilter, Load, Nothing, Outcome, Page, Stat, Tag } from '../parts'
import { param } from '../router'
import { series } from '../theme'
import type { LogLine, Span, TraceView } from '../types'
import { VirtualTable } from '../virtual'

interface Found { id: string; name: string; app?: string; start: string; duration_ns: number; failed: boolean; cold?: boolean; spans: number; functions?: string[]; trigger?: string }

export function Traces() {
  const list = useData<{ traces: Found[] }>(`/v1/traces${query({ app: param('app'), function: param('function'), failed: param('only') === 'failed', cold: param('only') === 'cold', slower: param('slower'), text: param('text'), since: param('since'), limit: 200 })}`, 5000)
  return (
    <Page title="Traces" aside={<Filters>
      <Filter name="text" label="Text" placeholder="name, attribute, error" /><AppFilter /><FunctionFilter />
      <Filter name="only" label="Only" any="all" options={['failed', 'cold']} /><Filter name="slower" label="Slower than" options={['10ms', '100ms', '1s', '10s']} />
      <Filter name="since" label="Since" options={['15m', '1h', '24h', '7d']} />
    </Filters>}>
      <Load from={list}>{({ traces }) => traces.length === 0
        ? <Nothing title="No traces" icon="traces">Every call leaves one, from the first request to the last retry. Call a function, or take a filter away.</Nothing>
        : <Rows list={traces} />}</Load>
    </Page>
  )
}

function Rows(props: { list: Found[] }) {
  const longest = Math.max(...props.list.map((t) => t.duration_ns), 1)
  return (
    <VirtualTable label="Traces, the newest first" total={props.list.length} row={(i) => props.list[i]} head={['Time', 'Trace', 'Outcome', ['Took', 'number'], 'Of the longest', ['Spans', 'number'], 'Through']} render={(t) => (
      <>
        <td class="time" title={stamp(t.start)}>{clock(t.start)}</td>
        <td class="cell" title={t.name}><a href={`/traces/${t.id}`}>{t.name || t.id.slice(0, 8)}</a></td>
        <td><Outcome of={t.failed ? 'failed' : 'ok'} /> {t.cold && <Tag kind="accent">cold</Tag>}</td>
        <td class="number">{duration(t.duration_ns)}</td>
        <td><span class="length"><span style={{ width: `${Math.max(1, (t.duration_ns / longest) * 100)}%` }} class={t.failed ? 'bad' : ''} /></span></td>
        <td class="number">{t.spans}</td>
        <td class="through" title={t.functions?.join(' → ')}>{t.functions?.slice(0, 4).join(' → ')}{(t.functions?.length ?? 0) > 4 && ` and ${t.functions!.length - 4} more`}</td>
      </>
    )} />
  )
}

/** One trace: every span under its parent, on one scale, with the lines of its calls. */
export function Trace(props: { id: string }) {
  const trace = useData<TraceView>(`/v1/traces/${props.id}`, 5000)
  const cost = useData<{ calls: number; costs: Record<string, { total: number }> }>(`/v1/cost/calls/${props.id}`)
  const prices = useData<{ default: string; sheets: { name: string; currency: string }[] }>('/v1/prices')
  return (
    <Page title={trace.value?.spans[0]?.name ?? `Trace ${props.id.slice(0, 8)}`} trail={[['Traces', '/traces']]} tags={trace.value && <Outcome of={trace.value.failed ? 'failed' : 'ok'} />}>
      <Load from={trace}>{(t) => (
        <>
          <dl class="stats">
            <Stat name="Began" note={ago(t.start)}>{clock(t.start)}</Stat>
            <Stat name="Took">{duration(t.duration_ns)}</Stat>
            <Stat name="Spans">{count(t.spans.length)}</Stat>
            <Stat name="Calls" note={t.invocations?.some((i) => i.cold) ? `${t.invocations.filter((i) => i.cold).length} cold` : undefined}>{t.invocations?.length ?? 0}</Stat>
            <Stat name="Lines">{t.logs?.length ?? 0}</Stat>
            {cost.value && prices.value?.default && cost.value.costs[prices.value.default] && <Stat name="Cost" note={`under ${prices.value.default}`}>{cost.value.costs[prices.value.default].total.toLocaleString('en', { maximumSignificantDigits: 3 })} {prices.value.sheets.find((s) => s.name === prices.value!.default)?.currency}</Stat>}
          </dl>
          <Waterfall trace={t} />
          <p class="quiet">Trace <code>{t.id}</code></p>
        </>
      )}</Load>
    </Page>
  )
}

const ns = (time: string) => Number(nanos(time) % 1_000_000_000_000_000n) // differences of one trace are far below 11 days

interface Row { span: Span; depth: number; children: number }

function Waterfall(props: { trace: TraceView }) {
  const { trace } = props
  const [closed, setClosed] = useState<Set<string>>(new Set())
  const [open, setOpen] = useState('')
  const [lines, setLines] = useState(true)
  const t0 = ns(trace.start)
  const total = Math.max(trace.duration_ns, 1)
  const share = (t: number) => Math.min(100, Math.max(0, ((t - t0) / total) * 100))
  const rows = inOrder(trace.spans, closed)
  const actors = [...new Set(trace.spans.map((s) => s.function ?? ''))]
  const paint = (s: Span) => `var(${series[Math.max(0, actors.indexOf(s.function ?? '')) % series.length]})`
  const mine = byOwner(trace)
  const toggle = (id: string) => setClosed((old) => { const next = new Set(old); if (!next.delete(id)) next.add(id); return next })
  return (
    <section class="panel">
      <header>
        <h2>Spans</h2>
        <div class="aside"><span class="legend inline">{actors.filter(Boolean).map((a) => <span key={a}><i style={{ background: `var(${series[actors.indexOf(a) % series.length]})` }} />{a}</span>)}</span>
          <button aria-pressed={lines} onClick={() => setLines(!lines)}>Lines</button></div>
      </header>
      <div class="scroll waterfall" tabIndex={0} role="region" aria-label="Spans">
        <div class="axis" aria-hidden="true"><span /><span class="ticks">{[0, 0.25, 0.5, 0.75, 1].map((f) => <i key={f} style={{ left: `${f * 100}%` }}>{duration(total * f)}</i>)}</span><span /></div>
        <ol>
          {rows.map(({ span, depth, children }) => {
            const from = share(ns(span.start))
            const took = ns(span.end) - ns(span.start)
            const label = span.function && span.kind !== 'internal' && !span.name.includes(span.function) ? `${span.function}: ${span.name}` : span.name
            const attempt = Number(span.attributes?.['mayfly.attempt'] ?? span.attributes?.['faas.attempt'] ?? 0)
            return (
              <li key={span.span_id}>
                <div class={`span ${span.kind}`}>
                  <span class="name" style={{ paddingLeft: `${depth * 16}px` }}>
                    {children > 0 ? <button class="fold" aria-label={`${closed.has(span.span_id) ? 'Open' : 'Close'} ${span.name}`} aria-expanded={!closed.has(span.span_id)} onClick={() => toggle(span.span_id)}>{closed.has(span.span_id) ? '▸' : '▾'}</button> : <span class="fold" />}
                    <button class="plain what" aria-expanded={open === span.span_id} onClick={() => setOpen(open === span.span_id ? '' : span.span_id)}>{label}</button>
                    {attempt > 1 && <Tag kind="warn">attempt {attempt}</Tag>}{span.error && <Tag kind="bad" title={span.error}>failed</Tag>}
                  </span>
                  <span class="bar"><span class={span.error ? 'bad' : ''} style={{ left: `${Math.min(from, 99.7)}%`, width: `${Math.max((took / total) * 100, 0.3)}%`, background: span.error ? undefined : paint(span) }} />
                    {lines && mine.get(span.span_id)?.map((l, i) => <i key={i} class={`at ${l.level ?? ''}`} style={{ left: `${share(ns(l.time))}%` }} />)}</span>
                  <span class="number">{duration(took)}</span>
                </div>
                {open === span.span_id && <About span={span} />}
                {lines && mine.get(span.span_id)?.map((l, i) => (
                  <div key={i} class={`inline ${l.level ?? ''}`} style={{ paddingLeft: `${depth * 16 + 30}px` }}><time>+{duration(ns(l.time) - t0)}</time><span>{l.message ?? l.text}</span></div>
                ))}
              </li>
            )
          })}
        </ol>
      </div>
    </section>
  )
}

function About(props: { span: Span }) {
  const s = props.span
  return (
    <dl class="pairs about">
      {s.error && <div><dt>error</dt><dd class="bad">{s.error}</dd></div>}
      <div><dt>kind</dt><dd>{s.kind}</dd></div>
      {s.function && <div><dt>function</dt><dd><a href={`/functions/${s.app}/${s.function}`}>{s.app}/{s.function}</a></dd></div>}
      {Object.entries(s.attributes ?? {}).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}
    </dl>
  )
}

/** The lines of each span: its own, or those of its call where the line names no span that is here. */
function byOwner(trace: TraceView): Map<string, LogLine[]> {
  const spans = new Set(trace.spans.map((s) => s.span_id))
  const calls = new Map<string, string>()
  for (const s of trace.spans) if (s.invocation && !calls.has(s.invocation)) calls.set(s.invocation, s.span_id)
  const out = new Map<string, LogLine[]>()
  for (const l of trace.logs ?? []) {
    const owner = l.span_id && spans.has(l.span_id) ? l.span_id : calls.get(l.invocation ?? '') ?? trace.spans[0]?.span_id
    if (owner) out.set(owner, [...(out.get(owner) ?? []), l])
  }
  return out
}

/** Spans, each after its parent, children by their start, without those below what is closed. */
function inOrder(spans: Span[], closed: Set<string>): Row[] {
  const known = new Set(spans.map((s) => s.span_id))
  const children = new Map<string, Span[]>()
  for (const s of [...spans].sort((a, b) => ns(a.start) - ns(b.start))) {
    const parent = s.parent_span_id && known.has(s.parent_span_id) ? s.parent_span_id : ''
    const list = children.get(parent)
    if (list) list.push(s)
    else children.set(parent, [s])
  }
  const out: Row[] = []
  const visit = (id: string, depth: number) => {
    for (const s of children.get(id) ?? []) {
      out.push({ span: s, depth, children: children.get(s.span_id)?.length ?? 0 })
      if (!closed.has(s.span_id)) visit(s.span_id, depth + 1)
    }
  }
  visit('', 0)
  return out
}
