import { useData } from '../data'
import { ago, duration, percent, rate } from '../format'
import { Filter, Load, Nothing, Page, Spark, Stat, Table } from '../parts'
import { param } from '../router'
import type { FunctionInfo, NodeStatus, Summary } from '../types'

/** The node at a glance, and how every function fares. */
export function Overview() {
  const node = useData<NodeStatus>('/v1/node', 5000)
  const functions = useData<{ functions: FunctionInfo[] }>('/v1/functions', 5000)
  const stats = useData<{ functions: Summary[] }>('/v1/stats/functions?window=15m', 2000)
  const by = new Map(stats.value?.functions.map((s) => [`${s.app}/${s.function}`, s]))
  const sum = (of: (s: Summary) => number) => stats.value?.functions.reduce((n, s) => n + of(s), 0) ?? 0
  return (
    <Page title="Overview" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}><Filter name="find" label="Function" placeholder="part of a name" /></form>}>
      <Load from={node}>{(n) => (
        <dl class="stats">
          <Stat name="Calls, last 15 min">{sum((s) => s.calls)}</Stat>
          <Stat name="Failed" bad={sum((s) => s.failed) > 0}>{sum((s) => s.failed)}</Stat>
          <Stat name="Cold starts">{sum((s) => s.cold)}</Stat>
          <Stat name="Isolation" bad={n.isolation.name !== 'full'}><a href="/doctor">{n.isolation.name}</a></Stat>
          <Stat name="Up">{ago(n.started).replace(' ago', '')}</Stat>
          <Stat name="Version">{n.version}</Stat>
        </dl>
      )}</Load>
      <Load from={functions}>{({ functions }) => functions.length === 0
        ? <Nothing title="No functions yet">Make an app with <code>mayfly new python DIR</code> and deploy it with <code>mayfly deploy DIR</code>.</Nothing>
        : <Functions list={functions} by={by} />}</Load>
    </Page>
  )
}

const shown = 200

function Functions(props: { list: FunctionInfo[]; by: Map<string, Summary> }) {
  const order = props.list.filter((f) => `${f.app}/${f.name}`.includes(param('find'))).sort((a, b) => (props.by.get(`${b.app}/${b.name}`)?.calls ?? 0) - (props.by.get(`${a.app}/${a.name}`)?.calls ?? 0))
  if (order.length === 0) return <Nothing title="No such function">No function's name has {param('find')} in it.</Nothing>
  return (
    <>
      <Table label="Functions, the busiest first" head={['Function', 'Runtime', 'Version', 'Calls', 'Rate', 'Errors', 'p50', 'p99', 'Cold']}>
        {order.slice(0, shown).map((f) => {
          const s = props.by.get(`${f.app}/${f.name}`)
          return (
            <tr key={f.app + f.name}>
              <td><a href={`/functions/${f.app}/${f.name}`}>{f.app}/{f.name}</a></td>
              <td>{f.spec.runtime}</td>
              <td>{f.live.version}{f.live.canary ? ` + ${f.live.canary} at ${f.live.weight} %` : ''}</td>
              <td>{s ? <Spark values={s.per_minute} label={`${s.calls} calls in the last minutes`} /> : null}</td>
              <td class="number">{rate(s?.rate ?? 0)}</td>
              <td class={s && s.error_rate > 0 ? 'number bad' : 'number'}>{percent(s?.error_rate ?? 0)}</td>
              <td class="number">{s ? duration(s.p50_ns) : ''}</td>
              <td class="number">{s ? duration(s.p99_ns) : ''}</td>
              <td class="number">{percent(s?.cold_share ?? 0)}</td>
            </tr>
          )
        })}
      </Table>
      {order.length > shown && <p class="quiet">{order.length - shown} more: name a part of a function's name to find it.</p>}
    </>
  )
}
