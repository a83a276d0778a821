import { useState } from 'preact/hooks'
import { query, useStream } from '../data'
import { clock, count, duration, plural } from '../format'
import { Filter, Filters, FunctionLink, Nothing, Outcome, Page, Tag } from '../parts'
import { param } from '../router'
import type { Invocation } from '../types'
import { VirtualTable } from '../virtual'

const outcomes = ['ok', 'error', 'timeout', 'oom', 'exit', 'throttled', 'cancelled', 'internal']

/** Calls as they happen. */
export function Live() {
  const [held, setHeld] = useState(false)
  const rows = useStream<Invocation>(`/v1/live${query({ app: param('app'), function: param('function'), outcome: param('outcome') })}`, 5000, held)
  const failed = rows.filter((r) => r.outcome !== 'ok').length
  return (
    <Page title="Live calls" tags={<Tag kind={held ? 'warn' : 'good'}>{held ? 'held' : 'live'}</Tag>} aside={<Filters>
      <Filter name="app" label="App" /><Filter name="function" label="Function" />
      <Filter name="outcome" label="Outcome" options={outcomes} />
      <button aria-pressed={held} onClick={() => setHeld(!held)}>{held ? 'Go on' : 'Hold'}</button>
    </Filters>}>
      {rows.length === 0
        ? <Nothing title="Waiting for calls" icon="live" code="curl -i http://127.0.0.1:8080/hello">Each call appears here as it ends. Make one:</Nothing>
        : <>
            <p class="quiet">{plural(rows.length, 'call')} since this page was opened{failed > 0 && <>, <span class="bad">{count(failed)} not ok</span></>}</p>
            <VirtualTable label="Calls, the newest first" total={rows.length} row={(i) => rows[rows.length - 1 - i]} head={callHead} render={callCells} />
          </>}
    </Page>
  )
}

export const callHead: (string | [string, 'number'])[] = ['Time', 'Function', 'Trigger', 'Outcome', ['Took', 'number'], 'Start', ['Version', 'number'], ['Attempt', 'number'], 'Trace']

export function callCells(i: Invocation) {
  return (
    <>
      <td class="time" title={i.start}>{clock(i.start)}</td>
      <td><FunctionLink app={i.app} name={i.function} /></td>
      <td>{i.route || i.trigger}</td>
      <td><Outcome of={i.outcome} /> {i.error ? <span class="quiet" title={i.error.errorMessage}>{i.error.errorType}</span> : i.status || ''}</td>
      <td class="number">{duration(i.duration_ns)}</td>
      <td>{i.cold ? <Tag kind="accent" title={i.phases?.map((p) => `${p.name} ${duration(p.duration_ns)}`).join(', ')}>cold</Tag> : ''}</td>
      <td class="number">{i.version}</td>
      <td class="number">{i.attempt}</td>
      <td><a href={`/traces/${i.trace.trace_id}`}><code>{i.trace.trace_id.slice(0, 8)}</code></a></td>
    </>
  )
}
