import { query, useData } from '../data'
import { brief, bytes, count, duration, percent, rate, size, span } from '../format'
import { Failed, Filter, Filters, FunctionLink, Nothing, Page, Spark, Stat, Tag } from '../parts'
import { param } from '../router'
import type { FunctionInfo, NodeStatus } from '../types'
import { usePages, VirtualTable } from '../virtual'
import { Firing } from './alerts'
import { useApps } from './apps'

interface ListPage { functions: FunctionInfo[]; total: number; sum?: { calls: number; failed: number; throttled: number; cold: number; per_minute: number[] | null } }

const orders: [string, string][] = [['calls', 'calls'], ['errors', 'errors'], ['p99', 'p99'], ['cold', 'cold starts'], ['name', 'name']]
const runtimes = ['python', 'node', 'wasm', 'binary', 'http', 'container']

/** The node at a glance, and how every function fares. The list is filtered, sorted and cut into pages by the node. */
export function Overview() {
  const node = useData<NodeStatus>('/v1/node', 5000)
  const apps = useApps()
  const [find, app, runtime, sort] = ['find', 'app', 'runtime', 'sort'].map(param)
  const list = usePages<FunctionInfo, ListPage>(
    (after, limit) => `/v1/functions${query({ find, app, runtime, sort: sort || 'calls', stats: true, limit, after })}`,
    (page) => ({ rows: page.functions, total: page.total }), 3000)
  const names = apps.value?.apps.map((a) => a.name) ?? []
  const filtered = find || app || runtime
  return (
    <Page title="Functions" aside={<Filters>
      <Filter name="find" label="Find" placeholder="part of a name" />
      {names.length > 1 && <Filter name="app" label="App" any="all" options={names.slice(0, 200)} />}
      <Filter name="runtime" label="Runtime" any="all" options={runtimes} />
      <Filter name="sort" label="Most" any="calls" options={orders.slice(1)} />
    </Filters>}>
      <Firing />
      <Totals node={node.value} page={list.first} total={list.total} />
      {list.error && list.total === undefined && <Failed error={list.error} />}
      {list.total === undefined
        ? !list.error && <div class="skeleton" aria-busy="true"><span class="hidden">Loading…</span></div>
        : list.total === 0
          ? filtered
            ? <Nothing title="No such function" icon="search">Nothing that is deployed matches the filters.</Nothing>
            : <Nothing title="No functions yet" icon="overview" code={'mayfly new python hello\nmayfly deploy hello'}>A function is a folder with code and a few lines of <code>mayfly.yaml</code>. Make one, deploy it, and it appears here.</Nothing>
          : <VirtualTable label="Functions" total={list.total} row={list.row} look={list.look} render={cells}
              head={['Function', 'Runtime', 'Version', 'Last 15 minutes', ['Rate', 'number'], ['Errors', 'number'], ['p50', 'number'], ['p99', 'number'], ['Cold', 'number']]} />}
    </Page>
  )
}

function Totals(props: { node?: NodeStatus; page?: ListPage; total?: number }) {
  const sum = props.page?.sum
  const n = props.node
  return (
    <dl class="stats">
      <Stat name="Functions">{props.total === undefined ? '–' : count(props.total)}</Stat>
      <Stat name="Calls, 15 min" note={sum?.per_minute && <Spark values={sum.per_minute} label="Calls by minute" />}>{sum ? brief(sum.calls) : '–'}</Stat>
      <Stat name="Failed" bad={!!sum?.failed} note={sum && sum.calls > 0 ? percent(sum.failed / sum.calls) : undefined}>{sum ? brief(sum.failed) : '–'}</Stat>
      <Stat name="Throttled" bad={!!sum?.throttled}>{sum ? brief(sum.throttled) : '–'}</Stat>
      <Stat name="Cold starts" note={sum && sum.calls > 0 ? percent(sum.cold / sum.calls) : undefined}>{sum ? brief(sum.cold) : '–'}</Stat>
      {n && <Stat name="Isolation" bad={n.isolation.name !== 'full'}><a href="/doctor">{n.isolation.name}</a></Stat>}
      {n && <Stat name="Node up" note={`${n.version}, ${size(bytes(n.memory))}`}>{span((Date.now() - new Date(n.started).getTime()) / 1000)}</Stat>}
    </dl>
  )
}

function cells(f: FunctionInfo) {
  const s = f.stats
  return (
    <>
      <td class="cell" title={`${f.app}/${f.name}`}><FunctionLink app={f.app} name={f.name} /></td>
      <td>{f.spec.runtime}</td>
      <td>{f.live.version}{f.live.canary ? <> <Tag kind="accent">{f.live.canary} gets {f.live.weight} %</Tag></> : ''}</td>
      <td>{s ? <Spark values={s.per_minute} label={`${s.calls} calls in the last minutes`} /> : <span class="quiet">no calls</span>}</td>
      <td class="number">{s ? rate(s.rate) : ''}</td>
      <td class={s && s.error_rate > 0 ? 'number bad' : 'number'}>{s ? percent(s.error_rate) : ''}</td>
      <td class="number">{s ? duration(s.p50_ns) : ''}</td>
      <td class="number">{s ? duration(s.p99_ns) : ''}</td>
      <td class="number">{s ? percent(s.cold_share) : ''}</td>
    </>
  )
}

