import { Chart } from '../chart'
import { query, useData } from '../data'
import { brief, count, percent, size, span } from '../format'
import { AppFilter, Bar, Card, Filter, Filters, FunctionLink, Load, Nothing, Page, Stat, Table, Tag } from '../parts'
import { param } from '../router'
import { series } from '../theme'

interface Money { requests: number; memory: number; cpu: number; egress: number; storage: number; total: number }
interface Row { app: string; function?: string; start?: string; usage: { requests: number; errors: number; billed_ms: number; kib_ms: number; cpu_ns: number; bytes_out: number; egress: number }; cost: Money }
interface Stored { app: string; kind: string; name: string; start?: string; bytes?: number; gib_months: number; cost: number }
interface Budget { app: string; amount: number; spent: number; share: number; currency: string; action: string; stopped: boolean; resets: string }
interface Cost { prices: string; currency: string; rows: Row[]; storage: Stored[]; total: Money; month_to_date: Money; forecast: Money; forecast_from_days: number }

const money = (n: number, currency: string) => n > 0 && n < 1e-6 ? `< 0.000001 ${currency}` : `${n.toLocaleString('en', n >= 1 ? { maximumFractionDigits: 2, minimumFractionDigits: 2 } : { maximumSignificantDigits: 3 })} ${currency}`

/** What functions used and resources held, exactly, and what that costs under a price sheet. */
export function CostPage() {
  const prices = useData<{ default: string; sheets: { name: string }[] }>('/v1/prices')
  const [sheet, since, app] = ['prices', 'since', 'app'].map(param)
  const cost = useData<Cost>(`/v1/cost${query({ prices: sheet, since, app })}`, 10_000)
  const names = prices.value?.sheets.map((s) => s.name) ?? []
  return (
    <Page title="Cost" aside={<Filters>
      <Filter name="prices" label="Prices" any={prices.value?.default || 'the node’s'} options={names.filter((n) => n !== prices.value?.default)} />
      <Filter name="since" label="Since" any="the month began" options={[['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days']]} />
      <AppFilter />
    </Filters>}>
      <Load from={cost}>{(c) => (
        <>
          <dl class="stats">
            {since && <Stat name={`The last ${since}`}>{money(c.total.total, c.currency)}</Stat>}
            <Stat name="Month to date">{money(c.month_to_date.total, c.currency)}</Stat>
            <Stat name="Forecast for the month" note={c.forecast_from_days >= 1 ? `from ${c.forecast_from_days.toFixed(1)} days` : 'from less than a day: rough'}>{money(c.forecast.total, c.currency)}</Stat>
            <Stat name="Storage" note={`${size(c.storage.reduce((n, r) => n + (r.bytes ?? 0), 0))} held now`}>{money(c.total.storage, c.currency)}</Stat>
            <Stat name="Calls">{brief(c.rows.reduce((n, r) => n + r.usage.requests, 0))}</Stat>
            <Stat name="Memory time">{gbs(c.rows.reduce((n, r) => n + r.usage.kib_ms, 0))}</Stat>
          </dl>
          {c.rows.length + c.storage.length === 0 ? <Nothing title="Nothing was used" icon="cost">Each call is in the ledger within a second of its end, to the millisecond, and is never sampled. What buckets, key-value stores and databases hold is measured each minute.</Nothing> : (
            <>
              <div class="cards thirds"><Days sheet={sheet} app={app} since={since} currency={c.currency} /><MadeOf total={c.total} currency={c.currency} /><Sheets names={names} now={c} since={since} app={app} /></div>
              <Table label="By function, the dearest first" head={['Function', ['Calls', 'number'], ['Billed', 'number'], ['Memory time', 'number'], ['Processor', 'number'], ['Egress', 'number'], ['Cost', 'number'], 'Share']}>
                {[...c.rows].sort((a, b) => b.cost.total - a.cost.total).slice(0, 200).map((r) => (
                  <tr key={r.app + r.function}><td class="cell" title={`${r.app}/${r.function ?? ''}`}>{r.function ? <FunctionLink app={r.app} name={r.function} /> : r.app}</td><td class="number">{count(r.usage.requests)}</td><td class="number">{exact(r.usage.billed_ms / 1000)} s</td><td class="number">{gbs(r.usage.kib_ms)}</td>
                    <td class="number">{exact(r.usage.cpu_ns / 1e9)} s</td><td class="number">{size(r.usage.egress)}</td><td class="number">{money(r.cost.total, c.currency)}</td>
                    <td><Bar share={c.total.total ? r.cost.total / c.total.total : 0} label={`${percent(c.total.total ? r.cost.total / c.total.total : 0)} of all`} /></td></tr>
                ))}
              </Table>
              <Storage sheet={sheet} since={since} app={app} currency={c.currency} total={c.total.total} />
            </>
          )}
        </>
      )}</Load>
      <Budgets />
    </Page>
  )
}

/** A figure of the ledger with as many digits as say something. */
const exact = (n: number) => n.toLocaleString('en', { maximumFractionDigits: n < 100 ? 3 : 0 })

const gbs = (kibms: number) => `${exact(kibms / 1048576 / 1000)} GB·s`

const parts: [key: Exclude<keyof Money, 'total'>, name: string][] = [['requests', 'Requests'], ['memory', 'Memory time'], ['cpu', 'Processor time'], ['egress', 'Egress'], ['storage', 'Storage']]

/** Which part of the cost is for what. */
function MadeOf(props: { total: Money; currency: string }) {
  const shown = parts.map(([key, name], i) => ({ name, cost: props.total[key], colour: `var(${series[i]})` })).filter((p) => p.cost > 0)
  return (
    <Card title="What it is made of">
      {shown.length === 0 ? <p class="quiet pad">Nothing costs anything yet under this sheet.</p> : <>
        <div class="phases" role="img" aria-label={shown.map((p) => `${p.name} ${percent(p.cost / props.total.total)}`).join(', ')}>{shown.map((p) => <span key={p.name} style={{ width: `${(p.cost / props.total.total) * 100}%`, background: p.colour }} />)}</div>
        <ul class="legend">{shown.map((p) => <li key={p.name}><i style={{ background: p.colour }} />{p.name} <span class="quiet">{percent(p.cost / props.total.total)}</span><span class="number">{money(p.cost, props.currency)}</span></li>)}</ul>
      </>}
    </Card>
  )
}

/** What each bucket, store and database holds, and what that costs. */
function Storage(props: { sheet: string; since: string; app: string; currency: string; total: number }) {
  const cost = useData<Cost>(`/v1/cost?by=resource&${query({ prices: props.sheet, since: props.since, app: props.app }).slice(1)}`, 30_000)
  const rows = [...(cost.value?.storage ?? [])].sort((a, b) => b.cost - a.cost || b.gib_months - a.gib_months)
  if (rows.length === 0) return null
  const share = (r: Stored) => (props.total ? r.cost / props.total : 0)
  return (
    <Table label="By what is stored, the dearest first" head={['Resource', 'Kind', ['Held now', 'number'], ['GiB-months', 'number'], ['Cost', 'number'], 'Share']} aside={<span class="quiet">a GiB-month is one GiB for a whole month</span>}>
      {rows.slice(0, 200).map((r) => (
        <tr key={r.app + r.kind + r.name}><td><span class="quiet">{r.app}/</span><a href={`/data/${r.app}/${r.kind === 'database' ? 'sql' : r.kind}/${r.name}`}>{r.name}</a></td><td>{kinds[r.kind] ?? r.kind}</td>
          <td class="number">{size(r.bytes ?? 0)}</td><td class="number">{Number(r.gib_months.toPrecision(3))}</td><td class="number">{money(r.cost, props.currency)}</td><td><Bar share={share(r)} label={`${percent(share(r))} of all`} /></td></tr>
      ))}
    </Table>
  )
}

const kinds: Record<string, string> = { bucket: 'bucket', kv: 'key-value store', database: 'database' }

/** Cost of calls and storage by day or hour (UTC). */
function Days(props: { sheet: string; app: string; since: string; currency: string }) {
  const by = props.since === '24h' ? 'hour' : 'day'
  const rows = useData<Cost>(`/v1/cost?by=${by}&${query({ prices: props.sheet, since: props.since, app: props.app }).slice(1)}`, 30_000)
  return (
    <Card title={`By ${by}`} aside={<span class="quiet">UTC</span>}>
      <Load from={rows}>{(c) => {
        const sums = new Map<string, number>()
        for (const r of c.rows) if (r.start) sums.set(r.start, (sums.get(r.start) ?? 0) + r.cost.total)
        for (const r of c.storage) if (r.start) sums.set(r.start, (sums.get(r.start) ?? 0) + r.cost)
        const timed = [...sums].sort(([a], [b]) => a.localeCompare(b))
        const most = Math.max(...sums.values(), 1e-12)
        return timed.length === 0 ? <p class="quiet pad">Nothing yet.</p> : timed.length > 60 ? <Chart series={[{ label: 'cost', times: timed.map(([t]) => new Date(t).getTime() / 1000), values: timed.map(([, n]) => n) }]} label={`cost by ${by}`} format={(v) => money(v, c.currency)} /> : (
          <ol class="bars" aria-label={`Cost by ${by}`}>{timed.map(([t, n]) => <li key={t}><time>{by === 'hour' ? t.slice(11, 16) : t.slice(5, 10)}</time><span><i style={{ width: `${(n / most) * 100}%` }} /></span><b>{money(n, c.currency)}</b></li>)}</ol>
        )
      }}</Load>
    </Card>
  )
}

/** The same usage under every price sheet there is. */
function Sheets(props: { names: string[]; now: Cost; since: string; app: string }) {
  return (
    <Card title="The same elsewhere" aside={<span class="quiet">month to date</span>}>
      <table aria-label="The same under other prices"><tbody>{props.names.slice(0, 12).map((n) => <Sheet key={n} name={n} now={n === props.now.prices} app={props.app} />)}</tbody></table>
    </Card>
  )
}

function Sheet(props: { name: string; now: boolean; app: string }) {
  const cost = useData<Cost>(`/v1/cost${query({ prices: props.name, app: props.app, by: 'app' })}`, 30_000)
  return <tr><td>{props.name} {props.now && <Tag kind="accent">shown</Tag>}</td><td class="number">{cost.value ? money(cost.value.month_to_date.total, cost.value.currency) : '…'}</td></tr>
}

function Budgets() {
  const budgets = useData<{ budgets: Budget[] }>('/v1/budgets', 10_000)
  return <Load from={budgets}>{({ budgets }) => budgets.length === 0 ? <p class="quiet none">No app has a budget. Give it one in <code>mayfly.yaml</code>: <code>budget: {'{amount: 20, prices: lambda-x86}'}</code></p> : (
    <Table label="Budgets" head={['App', ['Spent', 'number'], ['Of', 'number'], 'Share', 'At its end', 'Resets']}>
      {budgets.map((b) => (
        <tr key={b.app}><td>{b.app} {b.stopped && <Tag kind="bad">stopped</Tag>}</td><td class="number">{money(b.spent, b.currency)}</td><td class="number">{money(b.amount, b.currency)}</td>
          <td><Bar share={b.share} bad={b.share >= 0.8} label={`${b.app} has spent ${percent(b.share)}`} /> {percent(b.share)}</td><td>{b.action}</td><td>in {span((new Date(b.resets).getTime() - Date.now()) / 1000)}</td></tr>
      ))}
    </Table>
  )}</Load>
}
