import { useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { ago, bytes, duration, percent, rate, size } from '../format'
import { Action, Load, Page, Stat, Table } from '../parts'
import type { FunctionInfo, Instances, Invocation, Summary, Version } from '../types'
import { Invocations } from './invocations'

/** One function: how it fares, where its time goes, its versions, a call by hand. */
export function Function(props: { app: string; name: string }) {
  const path = `/v1/apps/${props.app}/functions/${props.name}`
  const info = useData<FunctionInfo>(path, 5000)
  return (
    <Page title={`${props.app}/${props.name}`}>
      <Load from={info}>{(f) => (
        <>
          <Health app={props.app} name={props.name} memory={f.spec.memory} />
          <Try path={path} />
          <Versions path={path} changed={info.reload} />
          <Pool app={props.app} name={props.name} />
          <Recent app={props.app} name={props.name} />
          <Spec of={f} />
        </>
      )}</Load>
    </Page>
  )
}

function Health(props: { app: string; name: string; memory: string }) {
  const stats = useData<{ functions: Summary[] }>(`/v1/stats/functions${query({ app: props.app, window: '15m' })}`, 2000)
  const calls = useData<{ invocations: Invocation[] }>(`/v1/invocations${query({ app: props.app, function: props.name, limit: 100 })}`, 5000)
  const s = stats.value?.functions.find((x) => x.function === props.name)
  const cold = calls.value?.invocations.filter((i) => i.cold) ?? []
  const slowest = calls.value?.invocations.reduce<Invocation | undefined>((a, b) => a && a.duration_ns >= b.duration_ns ? a : b, undefined)
  const peak = Math.max(0, ...(calls.value?.invocations.map((i) => bytes(i.memory_peak ?? '0B')) ?? []))
  return (
    <section>
      <dl class="stats">
        <Stat name="Rate">{rate(s?.rate ?? 0)}</Stat>
        <Stat name="Errors" bad={(s?.error_rate ?? 0) > 0}>{percent(s?.error_rate ?? 0)}</Stat>
        <Stat name="p50">{duration(s?.p50_ns ?? 0)}</Stat>
        <Stat name="p90">{duration(s?.p90_ns ?? 0)}</Stat>
        <Stat name="p99">{duration(s?.p99_ns ?? 0)}</Stat>
        {slowest && <Stat name={`Slowest of ${calls.value!.invocations.length}`}><a href={`/traces/${slowest.trace.trace_id}`}>{duration(slowest.duration_ns)}</a></Stat>}
        <Stat name="Cold">{percent(s?.cold_share ?? 0)}</Stat>
        <Stat name="Memory peak">{size(peak)} of {props.memory}</Stat>
      </dl>
      {peak > 0 && <p class="quiet">{hint(peak, bytes(props.memory))}</p>}
      {cold.length > 0 && <Phases calls={cold} />}
    </section>
  )
}

/** What the memory setting should be: the peak with a quarter to spare. */
function hint(peak: number, limit: number): string {
  const fit = Math.ceil((peak * 1.25) / (16 << 20)) * (16 << 20)
  if (fit >= limit) return 'The memory limit is close to the peak: a larger one is safer.'
  if (fit > limit / 2) return 'The memory limit fits.'
  return `memory: ${size(fit).replace(' ', '')} would do, with a quarter to spare.`
}

/** Where the time of cold calls goes, on average. */
function Phases(props: { calls: Invocation[] }) {
  const sums = new Map<string, number>()
  for (const c of props.calls) for (const p of c.phases ?? []) sums.set(p.name, (sums.get(p.name) ?? 0) + p.duration_ns)
  const total = [...sums.values()].reduce((a, b) => a + b, 0) || 1
  return (
    <Table label={`Where cold calls spend their time (the last ${props.calls.length})`} head={['Phase', 'Mean', 'Share']}>
      {[...sums].map(([name, ns]) => (
        <tr key={name}><td>{name}</td><td class="number">{duration(ns / props.calls.length)}</td><td><meter min={0} max={1} value={ns / total} aria-label={`${name}: ${percent(ns / total)}`} /></td></tr>
      ))}
    </Table>
  )
}

function Try(props: { path: string }) {
  const [event, setEvent] = useState('{}')
  const [result, setResult] = useState('')
  async function call() {
    JSON.parse(event)
    setResult(JSON.stringify(await request('POST', `${props.path}/invoke`, JSON.parse(event)), null, 2))
  }
  return (
    <section>
      <h2>Call it</h2>
      <label for="event">Event</label>
      <textarea id="event" rows={4} value={event} spellcheck={false} onInput={(e) => setEvent(e.currentTarget.value)} />
      <Action run={call}>Call</Action>
      {result && <pre tabIndex={0} aria-label="Result">{result}</pre>}
    </section>
  )
}

function Versions(props: { path: string; changed: () => void }) {
  const list = useData<{ versions: Version[] }>(`${props.path}/versions`, 5000)
  const done = () => {
    list.reload()
    props.changed()
  }
  const to = (version: number, weight: number) => request('POST', `${props.path}/promote`, { version, weight })
  return (
    <Load from={list}>{({ versions }) => (
      <Table label="Versions, the newest first" head={['Version', 'Calls', 'Created', 'Size', 'Message', '']}>
        {versions.map((v) => (
          <tr key={v.version}>
            <td>{v.version}</td>
            <td>{v.percent ? `${v.percent} %` : v.previous ? 'previous' : ''}</td>
            <td title={v.created}>{ago(v.created)}</td>
            <td class="number">{v.size}</td>
            <td>{v.message}</td>
            <td>{v.previous && <Action run={() => request('POST', `${props.path}/rollback`, { version: v.version })} done={done} confirm={`Go back to version ${v.version}?`}>Roll back</Action>}{v.percent !== 100 && <>
              <Action run={() => to(v.version, 10)} done={done}>10 %</Action>
              <Action run={() => to(v.version, 100)} done={done} confirm={`Send all calls to version ${v.version}?`}>All calls</Action>
            </>}</td>
          </tr>
        ))}
      </Table>
    )}</Load>
  )
}

function Pool(props: { app: string; name: string }) {
  const list = useData<{ instances: Instances[] }>('/v1/instances', 2000)
  const mine = list.value?.instances.filter((i) => i.app === props.app && i.function === props.name) ?? []
  if (mine.length === 0) return <p class="quiet">No instance is up: the next call starts one.</p>
  return (
    <Table label="Instances" head={['Version', 'Ready', 'Calls', 'Idle', 'Frozen', 'Starting', 'Waiting', 'Isolation']}>
      {mine.map((i) => (
        <tr key={i.version}>
          <td>{i.version}</td><td class="number">{i.ready}</td><td class="number">{i.busy}</td><td class="number">{i.idle}</td>
          <td class="number">{i.frozen}</td><td class="number">{i.starting}</td><td class="number">{i.waiting}</td><td>{i.isolation.name}</td>
        </tr>
      ))}
    </Table>
  )
}

function Recent(props: { app: string; name: string }) {
  const calls = useData<{ invocations: Invocation[] }>(`/v1/invocations${query({ app: props.app, function: props.name, limit: 20 })}`, 2000)
  return <Load from={calls}>{(c) => <Invocations label="The last calls" list={[...c.invocations].reverse()} />}</Load>
}

function Spec(props: { of: FunctionInfo }) {
  return (
    <details>
      <summary>Specification</summary>
      <pre tabIndex={0} aria-label="Specification">{JSON.stringify(props.of.spec, null, 2)}</pre>
    </details>
  )
}
