import { query, useData } from '../data'
import { request } from '../api'
import { ago, bytes, clock, count, duration, percent, plural, rate, size, stamp } from '../format'
import { Chart, type Point, range, useRanges } from '../chart'
import { Action, Bar, Card, Filter, Filters, Load, Nothing, Page, Stat, Table, Tabs, Tag } from '../parts'
import { param } from '../router'
import type { FieldChange, FunctionInfo, Instances, Invocation, Summary, Version } from '../types'
import { Fields } from './deploys'
import { callCells, callHead } from './invocations'
import { seconds } from '../format'
import { Try } from './try'

type Of = { app: string; name: string }

/** One function: how it fares, where its time goes, its versions, a call by hand. */
export function Function(props: Of) {
  const path = `/v1/apps/${props.app}/functions/${props.name}`
  const info = useData<FunctionInfo>(path, 5000)
  const f = info.value
  return (
    <Page title={props.name} trail={[['Functions', '/'], [props.app, `/?app=${props.app}`]]}
      tags={f && <><Tag>{f.spec.runtime}</Tag><Tag kind="good">version {f.live.version}</Tag>{f.live.canary && <Tag kind="accent">{f.live.canary} gets {f.live.weight} %</Tag>}</>}
      aside={<Filters><Filter name="minutes" label="Last" any="hour" options={[['15', '15 minutes'], ['360', '6 hours'], ['1440', 'day'], ['10080', 'week']]} /><a class="button" href={`/logs?app=${props.app}&function=${props.name}`}>Logs</a><a class="button" href={`/traces?app=${props.app}&function=${props.name}`}>Traces</a></Filters>}>
      <Load from={info}>{(f) => (
        <Tabs name="tab" tabs={[['health', 'Health'], ['call', 'Call it'], ['versions', 'Versions'], ['spec', 'Specification']]}>{(tab) =>
          tab === 'call' ? <Try app={props.app} name={props.name} info={f} />
            : tab === 'versions' ? <Versions path={path} live={f.live.version} changed={info.reload} />
              : tab === 'spec' ? <Spec of={f} />
                : <Health app={props.app} name={props.name} info={f} />}</Tabs>
      )}</Load>
    </Page>
  )
}

function Health(props: Of & { info: FunctionInfo }) {
  const { app, name } = props
  const minutes = Number(param('minutes') || 60)
  const stats = useData<{ functions: Summary[] }>(`/v1/stats/functions${query({ app, window: '15m' })}`, 3000)
  const calls = useData<{ invocations: Invocation[] }>(`/v1/invocations${query({ app, function: name, limit: 100 })}`, 3000)
  const cold = useData<{ invocations: Invocation[] }>(`/v1/invocations${query({ app, function: name, cold: true, limit: 50 })}`, 5000)
  const s = stats.value?.functions.find((x) => x.function === name)
  const last = calls.value?.invocations ?? []
  return (
    <>
      <dl class="stats">
        <Stat name="Rate, 15 min" note={s && plural(s.calls, 'call')}>{rate(s?.rate ?? 0)}</Stat>
        <Stat name="Errors" bad={!!s?.failed} note={s?.timeouts ? plural(s.timeouts, 'timeout') : undefined}>{percent(s?.error_rate ?? 0)}</Stat>
        <Stat name="Throttled" bad={!!s?.throttled}>{count(s?.throttled ?? 0)}</Stat>
        <Stat name="p50">{s ? duration(s.p50_ns) : '–'}</Stat>
        <Stat name="p90">{s ? duration(s.p90_ns) : '–'}</Stat>
        <Stat name="p99">{s ? duration(s.p99_ns) : '–'}</Stat>
        <Stat name="Cold" note={s && plural(s.cold, 'start')}>{percent(s?.cold_share ?? 0)}</Stat>
      </dl>
      <div class="cards two">
        <Durations app={app} name={name} minutes={minutes} />
        <Traffic app={app} name={name} minutes={minutes} />
      </div>
      <div class="cards three">
        <ColdStarts calls={cold.value?.invocations ?? []} />
        <Memory calls={last} limit={props.info.spec.memory} />
        <Pool app={app} name={name} info={props.info} last={last[last.length - 1]} minutes={minutes} />
      </div>
      {calls.value && (last.length === 0
        ? <Nothing title="Never called" icon="live">Call it from the tab above, or through what triggers it.</Nothing>
        : <Table label="The last calls" head={callHead}>{last.slice(-20).reverse().map((i) => <tr key={i.id + i.attempt}>{callCells(i)}</tr>)}</Table>)}
    </>
  )
}

const perSecond = (v: number) => `${Number(v.toPrecision(3))}/s`

const at = (p: Of) => `{app="${p.app}",function="${p.name}"}`

interface Exemplars { data: { exemplars: { labels: { trace_id?: string }; value: string; timestamp: number }[] }[] }

/** Percentiles from histograms; the dots are calls that stand for others, and open their trace. */
function Durations(props: Of & { minutes: number }) {
  const window = props.minutes > 600 ? '15m' : props.minutes > 60 ? '5m' : '1m'
  const of = (q: number) => `histogram_quantile(${q}, sum(rate(faas_invoke_duration_seconds${at(props)}[${window}])))`
  const { series, error } = useRanges([['p50', of(0.5)], ['p95', of(0.95)], ['p99', of(0.99)]], props.minutes)
  const { start, end } = range(props.minutes)
  const found = useData<Exemplars>(`/api/v1/query_exemplars${query({ query: `faas_invoke_duration_seconds${at(props)}`, start, end })}`, 0, true)
  const points: Point[] = (found.value?.data ?? []).flatMap((s) => s.exemplars).filter((e) => e.labels.trace_id).map((e) => ({ time: e.timestamp, value: Number(e.value), trace: e.labels.trace_id! }))
  const slowest = [...points].sort((a, b) => b.value - a.value)
  return (
    <Card title="How long calls take" aside={<span class="quiet">dots are calls: open the trace</span>}>
      {error ? <p class="problem">{error.message}</p> : !series ? <div class="skeleton chart" /> : series.length === 0
        ? <p class="quiet pad">No samples in this time. They are taken each ten seconds, from the second call on.</p>
        : <Chart series={series} points={slowest.slice(0, 40)} minutes={props.minutes} fit={!param('minutes')} label="percentiles of the duration" format={seconds} />}
      {slowest.length > 0 && <p class="chips"><span class="quiet">The slowest:</span>{slowest.slice(0, 5).map((p) => <a key={p.trace} class="chip" href={`/traces/${p.trace}`}>{seconds(p.value)} at {clock(new Date(p.time * 1000).toISOString()).slice(0, 8)}</a>)}</p>}
    </Card>
  )
}

function Traffic(props: Of & { minutes: number }) {
  const window = props.minutes > 600 ? '15m' : props.minutes > 60 ? '5m' : '1m'
  const of = (metric: string) => `sum(rate(${metric}${at(props)}[${window}]))`
  const { series, error } = useRanges([['calls', of('faas_invocations_total')], ['errors', of('faas_errors_total')], ['cold starts', of('faas_coldstarts_total')]], props.minutes)
  return (
    <Card title="Calls, errors, cold starts">
      {error ? <p class="problem">{error.message}</p> : !series ? <div class="skeleton chart" /> : series.length === 0 ? <p class="quiet pad">No samples in this time.</p>
        : <Chart series={series} minutes={props.minutes} fit={!param('minutes')} label="rates of calls, errors and cold starts" format={perSecond} />}
    </Card>
  )
}

const phaseText: Record<string, string> = { queue: 'waited for an instance', sandbox: 'namespaces, root, limits', runtime: 'the interpreter or program began', init: "the code's imports" }

/** What cold calls wait for before their handler runs, on average, in the order in which they do. */
function ColdStarts(props: { calls: Invocation[] }) {
  const sums = new Map<string, number>()
  for (const c of props.calls) for (const p of c.phases ?? []) if (p.name !== 'call') sums.set(p.name, (sums.get(p.name) ?? 0) + p.duration_ns)
  const total = [...sums.values()].reduce((a, b) => a + b, 0)
  const n = props.calls.length
  const phases = [...sums].filter(([, ns]) => ns > 0)
  return (
    <Card title="Cold starts" aside={n > 0 && <span class="quiet">mean of the last {n}</span>}>
      {n === 0 ? <p class="quiet pad">No call had to wait for a new instance.</p> : (
        <>
          <div class="big">{duration(total / n)}</div>
          <div class="phases" role="img" aria-label={phases.map(([name, ns]) => `${name} ${percent(ns / total)}`).join(', ')}>
            {phases.map(([name, ns]) => <span key={name} class={`phase-${name}`} style={{ width: `${(ns / total) * 100}%` }} />)}
          </div>
          <ul class="legend">{phases.map(([name, ns]) => <li key={name}><i class={`phase-${name}`} /><b>{name}</b> <span class="quiet">{phaseText[name]}</span><span class="number">{duration(ns / n)}</span></li>)}</ul>
        </>
      )}
    </Card>
  )
}

/** What the memory setting should be: the peak with a quarter to spare, in steps of 16 MiB. */
export function fit(peak: number): number {
  return Math.ceil((peak * 1.25) / (16 << 20)) * (16 << 20)
}

function Memory(props: { calls: Invocation[]; limit: string }) {
  const peak = Math.max(0, ...props.calls.map((i) => bytes(i.memory_peak ?? '0B')))
  const limit = bytes(props.limit)
  const wanted = fit(peak)
  const text = peak === 0 ? 'Nothing was measured yet: memory is known where the machine has control groups.'
    : wanted > limit ? 'The peak is close to the limit: a larger one is safer.'
      : wanted > limit / 2 ? 'The limit fits.'
        : <>A quarter to spare over the peak would be <code>memory: {size(wanted).replace(' ', '')}</code>. Processor time goes with memory: look at durations after a change.</>
  return (
    <Card title="Memory" aside={peak > 0 && <span class="quiet">peak of the last {props.calls.length} calls</span>}>
      <div class="big">{peak ? size(peak) : '–'} <span class="quiet">of {size(limit)}</span></div>
      {peak > 0 && <Bar share={peak / limit} bad={wanted > limit} label={`${percent(peak / limit)} of the limit`} />}
      <p class="quiet">{text}</p>
    </Card>
  )
}

/** Instances and calls at once, now and over time, and what isolates them. */
function Pool(props: Of & { info: FunctionInfo; last?: Invocation; minutes: number }) {
  const list = useData<{ instances: Instances[] }>('/v1/instances', 2000)
  const mine = list.value?.instances.filter((i) => i.app === props.app && i.function === props.name) ?? []
  const c = props.info.spec.concurrency
  const { series } = useRanges([['instances', `sum(max_over_time(mayfly_instances{app="${props.app}",function="${props.name}",state="ready"}[1m]))`], ['calls at once', `sum(max_over_time(mayfly_calls_running${at(props)}[1m]))`], ['waiting', `sum(max_over_time(mayfly_calls_waiting${at(props)}[1m]))`]], props.minutes)
  const tier = mine[0]?.isolation.name ?? props.last?.isolation
  return (
    <Card title="Concurrency" aside={tier ? <Tag kind={tier === 'full' ? 'good' : 'warn'} title={mine[0]?.isolation.walls.join(', ')}>isolation: {tier}</Tag> : undefined}>
      {series && series.length > 0 && <Chart series={series} minutes={props.minutes} fit={!param('minutes')} height={150} label="instances, calls at once and waiting calls" format={(v) => String(Math.round(v * 10) / 10)} />}
      {mine.length === 0 ? <p class="quiet">No instance is up: the next call starts one.</p> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Instances"><table aria-label="Instances"><thead><tr><th scope="col" class="number">Version</th>{['Ready', 'Calls', 'Idle', 'Frozen', 'Starting', 'Waiting'].map((h) => <th key={h} scope="col" class="number">{h}</th>)}</tr></thead>
          <tbody>{mine.map((i) => <tr key={i.version}>{[i.version, i.ready, i.busy, i.idle, i.frozen, i.starting, i.waiting].map((n, k) => <td key={k} class="number">{n}</td>)}</tr>)}</tbody></table></div>
      )}
      <p class="quiet">At most {c?.max ?? 'the default of'} instances, {c?.per_instance ?? 1} call{(c?.per_instance ?? 1) > 1 ? 's' : ''} at once in each{c?.warm ? `, ${c.warm} kept warm` : ''}; idle ones stay {props.info.spec.keep_alive && props.info.spec.keep_alive !== 'auto' ? props.info.spec.keep_alive : 'as long as the calls of before teach'}.</p>
      {mine[0]?.isolation.missing && <p class="quiet">Not enforced here: {Object.keys(mine[0].isolation.missing).join(', ')}. <a href="/doctor">Why</a></p>}
    </Card>
  )
}

function Versions(props: { path: string; live: number; changed: () => void }) {
  const list = useData<{ versions: Version[] }>(`${props.path}/versions`, 5000)
  const done = () => {
    list.reload()
    props.changed()
  }
  const to = (version: number, weight: number) => request('POST', `${props.path}/promote`, { version, weight })
  return (
    <Load from={list}>{({ versions }) => (
      <>
        <Table label="Versions, the newest first" head={[['Version', 'number'], 'Calls', 'Made', ['Size', 'number'], 'Bundle', 'Message', '']}>
          {versions.map((v) => (
            <tr key={v.version}>
              <td class="number">{v.version}</td>
              <td>{v.percent ? <Tag kind={v.percent === 100 ? 'good' : 'accent'}>{v.percent} %</Tag> : v.previous ? <span class="quiet">the one before</span> : ''}</td>
              <td title={stamp(v.created)}>{ago(v.created)}</td>
              <td class="number">{size(bytes(v.size))}</td>
              <td><code title={v.digest}>{v.digest.slice(7, 19)}</code></td>
              <td class="wrap">{v.message}</td>
              <td class="does">
                {v.previous && <Action kind="primary" run={() => request('POST', `${props.path}/rollback`, { version: v.version })} done={done} said={`Version ${v.version} has all calls`} confirm={`Send all calls back to version ${v.version}?`} label={`Roll back to version ${v.version}`}>Roll back</Action>}
                {v.percent !== 100 && <>
                  {!v.percent && <Action run={() => to(v.version, 10)} done={done} said={`Version ${v.version} gets 10 % of the calls`} confirm={`Send 10 % of the calls to version ${v.version}?`} label={`Send 10 % to version ${v.version}`}>10 %</Action>}
                  <Action run={() => to(v.version, 100)} done={done} said={`Version ${v.version} has all calls`} confirm={`Send all calls to version ${v.version}? It is started once before.`} label={`Promote version ${v.version}`}>Promote</Action>
                </>}
              </td>
            </tr>
          ))}
        </Table>
        {versions.length > 1 && <Compare versions={versions} live={props.live} />}
      </>
    )}</Load>
  )
}

/** The values of a specification by key, nested keys with dots. */
function flat(x: unknown, key = '', out: Record<string, string> = {}): Record<string, string> {
  if (x && typeof x === 'object' && !Array.isArray(x)) for (const [k, v] of Object.entries(x)) flat(v, key ? `${key}.${k}` : k, out)
  else out[key] = typeof x === 'string' ? x : JSON.stringify(x)
  return out
}

export function difference(a: Version, b: Version): FieldChange[] {
  const old = { code: a.digest.slice(0, 19), ...flat(a.spec) } as Record<string, string>
  const now = { code: b.digest.slice(0, 19), ...flat(b.spec) } as Record<string, string>
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].sort().filter((k) => old[k] !== now[k]).map((field) => ({ field, old: old[field], new: now[field] }))
}

function Compare(props: { versions: Version[]; live: number }) {
  const numbers = props.versions.map((v) => String(v.version))
  const b = props.versions.find((v) => String(v.version) === (param('to') || numbers[0])) ?? props.versions[0]
  const a = props.versions.find((v) => String(v.version) === (param('from') || String(props.versions.find((v) => v.version < b.version)?.version ?? props.live))) ?? props.versions[1]
  const changes = difference(a, b)
  return (
    <Card title={`From version ${a.version} to ${b.version}`} class="diff change" aside={<><Filter name="from" label="From" any="the one before" options={numbers} /><Filter name="to" label="To" any="the newest" options={numbers} /></>}>
      {changes.length === 0 ? <p class="quiet">They are the same.</p> : <ul><Fields of={changes} /></ul>}
    </Card>
  )
}

function Spec(props: { of: FunctionInfo }) {
  const s = props.of.spec
  const list = (name: string, items: string[] | undefined, none: string) => <Card title={name}>{items?.length ? <ul class="plainlist">{items.map((i) => <li key={i}><code>{i}</code></li>)}</ul> : <p class="quiet">{none}</p>}</Card>
  return (
    <>
      <div class="cards thirds">
        {list('May touch', s.allow, 'Nothing: without allow lines a function reaches no data service.')}
        {list('May connect to', s.egress, 'Nothing: egress is closed.')}
        {list('Is given secrets', s.secrets, 'None.')}
        {list('Environment', s.env && Object.entries(s.env).map(([k, v]) => `${k}=${v}`), 'Nothing beside what the platform sets.')}
        {list('Is called by', s.on?.map((t) => Object.entries(t).map(([k, v]) => `${k}: ${typeof v === 'object' ? JSON.stringify(v) : v}`).join(', ')), 'Only those who call it by its name.')}
      </div>
      <Card title="As deployed"><pre tabIndex={0} aria-label="Specification">{JSON.stringify(s, null, 2)}</pre></Card>
    </>
  )
}
