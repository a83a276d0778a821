import { useState } from 'preact/hooks'
import { lost } from '../api'
import { query, useData, useStream } from '../data'
import { clock, count, duration, plural } from '../format'
import { AppFilter, Failed, Filter, Filters, FunctionFilter, FunctionLink, type Head, Nothing, Outcome, Page, Tag } from '../parts'
import { param } from '../router'
import type { FunctionInfo, Invocation, NodeStatus } from '../types'
import { VirtualTable } from '../virtual'

const outcomes = ['ok', 'error', 'timeout', 'oom', 'exit', 'throttled', 'cancelled', 'internal']

/** Calls as they happen. */
export function Live() {
  const [held, setHeld] = useState(false)
  const { rows, error } = useStream<Invocation>(`/v1/live${query({ app: param('app'), function: param('function'), outcome: param('outcome') })}`, 5000, held)
  const failed = rows.filter((r) => r.outcome !== 'ok').length
  return (
    <Page title="Live calls" tags={<Running held={held} />} aside={<Filters>
      <AppFilter /><FunctionFilter />
      <Filter name="outcome" label="Outcome" options={outcomes} />
      <button aria-pressed={held} onClick={() => setHeld(!held)}>{held ? 'Go on' : 'Hold'}</button>
    </Filters>}>
      {error ? <Failed error={error} /> : rows.length === 0
        ? <Waiting />
        : <>
            <p class="quiet">{plural(rows.length, 'call')} since this page was opened{failed > 0 && <>, <span class="bad">{count(failed)} not ok</span></>}</p>
            <VirtualTable label="Calls, the newest first" total={rows.length} row={(i) => rows[rows.length - 1 - i]} head={callHead} render={callCells} />
          </>}
    </Page>
  )
}

/** Whether what is shown is added to as it happens. */
export function Running(props: { held: boolean }) {
  return <Tag kind={props.held || lost.value ? 'warn' : 'good'}>{lost.value ? 'interrupted' : props.held ? 'held' : 'live'}</Tag>
}

/** What makes a call: a route that is deployed, at this node's own address. */
function Waiting() {
  const node = useData<NodeStatus>('/v1/node')
  const list = useData<{ functions: FunctionInfo[] }>(`/v1/functions${query({ app: param('app'), limit: 50 })}`)
  const routed = list.value?.functions.map((f) => ({ f, route: f.spec.on?.map((t) => String(t.http ?? '')).find((r) => /^(GET )?\/[^{]*$/.test(r)) })).find((x) => x.route)
  const first = list.value?.functions[0]
  const code = routed && node.value ? `curl -i ${node.value.gateway}${routed.route!.replace('GET ', '')}` : first ? `mayfly invoke ${first.name} --app ${first.app} -d '{}'` : 'mayfly new python hello\nmayfly deploy hello'
  return <Nothing title="Waiting for calls" icon="live" code={code}>Each call appears here as it ends. Make one:</Nothing>
}

export const callHead: Head = ['Time', 'Function', 'Trigger', 'Outcome', ['Took', 'number'], ['Version', 'number'], ['Attempt', 'number']]

export function callCells(i: Invocation) {
  return (
    <>
      <td class="time" title={i.start}><a href={`/traces/${i.trace.trace_id}`} aria-label={`Trace of the call at ${clock(i.start)}`}>{clock(i.start)}</a></td>
      <td class="cell" title={`${i.app}/${i.function}`}><FunctionLink app={i.app} name={i.function} /></td>
      <td class="cell" title={i.route || i.trigger}>{i.route || i.trigger}</td>
      <td><Outcome of={i.outcome} /> {i.error ? <span class="quiet" title={i.error.errorMessage}>{i.error.errorType}</span> : i.status || ''}{i.cold && <> <Tag kind="accent" title={i.phases?.map((p) => `${p.name} ${duration(p.duration_ns)}`).join(', ')}>cold</Tag></>}</td>
      <td class="number">{duration(i.duration_ns)}</td>
      <td class="number">{i.version}</td>
      <td class={i.attempt > 1 ? 'number warn' : 'number'}>{i.attempt}</td>
    </>
  )
}
