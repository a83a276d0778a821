import { query, useStream } from '../data'
import { clock, duration } from '../format'
import { Filter, Nothing, Outcome, Page, Table } from '../parts'
import { param } from '../router'
import type { Invocation } from '../types'

/** Calls as they happen. */
export function Live() {
  const rows = useStream<Invocation>(`/v1/live${query({ app: param('app'), function: param('function'), outcome: param('outcome') })}`, 200)
  return (
    <Page title="Live calls" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}>
      <Filter name="app" label="App" /><Filter name="function" label="Function" />
      <Filter name="outcome" label="Outcome" options={['ok', 'error', 'timeout', 'oom', 'exit', 'throttled']} />
    </form>}>
      {rows.length === 0
        ? <Nothing title="Waiting for calls">Each call appears here as it ends.</Nothing>
        : <Invocations label="Calls, the newest first" list={[...rows].reverse()} />}
    </Page>
  )
}

export function Invocations(props: { label: string; list: Invocation[] }) {
  return (
    <Table label={props.label} head={['Time', 'Function', 'Trigger', 'Outcome', 'Took', 'Cold', 'Attempt', 'Trace']}>
      {props.list.map((i) => (
        <tr key={i.id + i.attempt}>
          <td>{clock(i.start)}</td>
          <td><a href={`/functions/${i.app}/${i.function}`}>{i.app}/{i.function}</a></td>
          <td>{i.route ?? i.trigger}</td>
          <td><Outcome of={i.outcome} />{i.error ? ` ${i.error.errorType}` : i.status ? ` ${i.status}` : ''}</td>
          <td class="number">{duration(i.duration_ns)}</td>
          <td>{i.cold ? 'cold' : ''}</td>
          <td class="number">{i.attempt}</td>
          <td><a href={`/traces/${i.trace.trace_id}`}>{i.trace.trace_id.slice(0, 8)}</a></td>
        </tr>
      ))}
    </Table>
  )
}
