import { query, useData } from '../data'
import { clock, duration } from '../format'
import { Filter, Load, Nothing, Outcome, Page, Table } from '../parts'
import { param } from '../router'
import type { Span, TraceView } from '../types'
import { Lines } from './logs'

interface Found { id: string; name: string; app?: string; start: string; duration_ns: number; failed: boolean; cold?: boolean; spans: number; functions?: string[] }

export function Traces() {
  const list = useData<{ traces: Found[] }>(`/v1/traces${query({ app: param('app'), function: param('function'), failed: param('failed') === 'yes' ? 'true' : '', slower: param('slower'), text: param('text'), limit: 100 })}`, 5000)
  return (
    <Page title="Traces" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}>
      <Filter name="text" label="Text" /><Filter name="app" label="App" /><Filter name="function" label="Function" />
      <Filter name="failed" label="Failed" options={['yes']} /><Filter name="slower" label="Slower than" options={['10ms', '100ms', '1s', '10s']} />
    </form>}>
      <Load from={list}>{({ traces }) => traces.length === 0
        ? <Nothing title="No traces">Every call leaves one; call a function, or take a filter away.</Nothing>
        : <Table label="Traces, the newest first" head={['Time', 'Trace', 'Through', 'Spans', 'Took', 'Cold', '']}>
            {[...traces].reverse().map((t) => (
              <tr key={t.id}>
                <td>{clock(t.start)}</td><td><a href={`/traces/${t.id}`}>{t.name || t.id.slice(0, 8)}</a></td><td>{t.functions?.join(', ')}</td>
                <td class="number">{t.spans}</td><td class="number">{duration(t.duration_ns)}</td><td>{t.cold ? 'cold' : ''}</td><td><Outcome of={t.failed ? 'failed' : 'ok'} /></td>
              </tr>
            ))}
          </Table>}</Load>
    </Page>
  )
}

const ns = (time: string) => new Date(time).getTime() * 1e6 + Number((/\.(\d+)/.exec(time)?.[1] ?? '0').padEnd(9, '0').slice(3))

/** One trace: every span under its parent, on one scale, with the lines of its calls. */
export function Trace(props: { id: string }) {
  const trace = useData<TraceView>(`/v1/traces/${props.id}`)
  return (
    <Page title={`Trace ${props.id.slice(0, 8)}`}>
      <Load from={trace}>{(t) => (
        <>
          <p class="quiet">{clock(t.start)}, {duration(t.duration_ns)}, {t.spans.length} spans</p>
          <Waterfall trace={t} />
          <h2>Lines</h2>
          {t.logs?.length ? <Lines list={t.logs} /> : <p class="quiet">Its functions printed nothing.</p>}
        </>
      )}</Load>
    </Page>
  )
}

function Waterfall(props: { trace: TraceView }) {
  const t0 = ns(props.trace.start)
  const total = Math.max(props.trace.duration_ns, 1)
  return (
    <div class="scroll waterfall" tabIndex={0} role="region" aria-label="Spans">
      <ol>
        {inOrder(props.trace.spans).map(({ span, depth }) => {
          const from = ((ns(span.start) - t0) / total) * 100
          const width = Math.max(((ns(span.end) - ns(span.start)) / total) * 100, 0.2)
          const about = `${duration(ns(span.end) - ns(span.start))}${span.error ? `, ${span.error}` : ''}`
          return (
            <li key={span.span_id}>
              <span class="name" style={{ paddingLeft: `${depth * 14}px` }} title={JSON.stringify(span.attributes ?? {}, null, 1)}>{span.function && span.kind !== 'internal' ? `${span.function}: ` : ''}{span.name}</span>
              <span class="bar"><span class={span.error ? 'bad' : span.kind} style={{ marginLeft: `${from}%`, width: `${width}%` }} /></span>
              <span class="number">{about}</span>
            </li>
          )
        })}
      </ol>
    </div>
  )
}

/** Spans, each after its parent, children by their start. */
function inOrder(spans: Span[]): { span: Span; depth: number }[] {
  const known = new Set(spans.map((s) => s.span_id))
  const children = new Map<string, Span[]>()
  for (const s of [...spans].sort((a, b) => ns(a.start) - ns(b.start))) {
    const parent = s.parent_span_id && known.has(s.parent_span_id) ? s.parent_span_id : ''
    children.set(parent, [...(children.get(parent) ?? []), s])
  }
  const out: { span: Span; depth: number }[] = []
  const visit = (id: string, depth: number) => {
    for (const s of children.get(id) ?? []) {
      out.push({ span: s, depth })
      visit(s.span_id, depth + 1)
    }
  }
  visit('', 0)
  return out
}
