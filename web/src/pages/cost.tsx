import { Chart, type Series } from '../chart'
import { query, useData } from '../data'
import { brief, count, percent, size, span } from '../format'
import { Bar, Card, Filter, Filters, FunctionLink, Load, Nothing, Page, Stat, Table, Tag } from '../parts'
import { param } from '../router'

interface Money { total: number }
interface Row { app: string; function?: string; start?: string; usage: { requests: number; errors: number; billed_ms: number; kib_ms: number; cpu_ns: number; bytes_out: number; egress: number }; cost: Money }
interface Budget { app: string; amount: number; spent: number; share: number; currency: string; action: string; stopped: boolean; resets: string }
interface Cost { prices: string; currency: string; rows: Row[]; total: Money; month_to_date: Money; forecast: Money; forecast_from_days: number }

const money = (n: number, currency: string) => `${n.toLocaleString('en', n >= 1 ? { maximumFractionDigits: 2, minimumFractionDigits: 2 } : { maximumSignificantDigits: 3 })} ${currency}`

/** What functions used, exactly, and what that costs under a price sheet. */
export function CostPage() {
  const prices = useData<{ default: string; sheets: { name: string }[] }>('/v1/prices')
  const [sheet, since, app] = ['prices', 'since', 'app'].map(param)
  const cost = useData<Cost>(`/v1/cost${query({ prices: sheet, since, app })}`, 10_000)
  const names = prices.value?.sheets.map((s) => s.name) ?? []
  return (
    <Page title="Cost" aside={<Filters>
      <Filter name="prices" label="Prices" any={prices.value?.default || 'the node’s'} options={names.filter((n) => n !== prices.value?.default)} />
      <Filter name="since" label="Since" any="the month began" options={[['24h', '24 hours'], ['7d', '7 days'], ['30d', '30 days']]} />
      <Filter name="app" label="App" />
    </Filters>}>
      <Load from={cost}>{(c) => (
        <>
          <dl class="stats">
            {since && <Stat name={`The last ${since}`}>{money(c.total.total, c.currency)}</Stat>}
            <Stat name="Month to date">{money(c.month_to_date.total, c.currency)}</Stat>
            <Stat name="Forecast for the month" note={c.forecast_from_days >= 1 ? `from ${c.forecast_from_days.toFixed(1)} days` : 'from less than a day: rough'}>{money(c.forecast.total, c.currency)}</Stat>
            <Stat name="Calls">{brief(c.rows.reduce((n, r) => n + r.usage.requests, 0))}</Stat>
            <Stat name="Memory time">{gbs(c.rows.reduce((n, r) => n + r.usage.kib_ms, 0))}</Stat>
          </dl>
          {c.rows.length === 0 ? <Nothing title="Nothing was used" icon="cost">Each call is in the ledger within a second of its end, to the millisecond, and is never sampled.</Nothing> : (
            <>
              <div class="cards"><Days sheet={sheet} app={app} since={since} currency={c.currency} /><Sheets names={names} now={c} since={since} app={app} /></div>
              <Table label="By function, the dearest first" head={['Function', ['Calls', 'number'], ['Billed', 'number'], ['Memory time', 'number'], ['Processor', 'number'], ['Egress', 'number'], ['Cost', 'number'], '']}>
                {[...c.rows].sort((a, b) => b.cost.total - a.cost.total).slice(0, 200).map((r) => (
                  <tr key={r.app + r.function}><td>{r.function ? <FunctionLink app={r.app} name={r.function} /> : r.app}</td><td class="number">{count(r.usage.requests)}</td><td class="number">{(r.usage.billed_ms / 1000).toFixed(3)} s</td><td class="number">{gbs(r.usage.kib_ms)}</td>
                    <td class="number">{(r.usage.cpu_ns / 1e9).toFixed(3)} s</td><td class="number">{size(r.usage.egress)}</td><td class="number">{money(r.cost.total, c.currency)}</td>
                    <td><Bar share={c.total.total ? r.cost.total / c.total.total : 0} label={`${percent(c.total.total ? r.cost.total / c.total.total : 0)} of all`} /></td></tr>
                ))}
              </Table>
            </>
          )}
        </>
      )}</Load>
      <Budgets />
    </Page>
  )
}

const gbs = (kibms: number) => `${(kibms / 1048576 / 1000).toFixed(3)} GB·s`

/** Cost by day or hour, of the functions that cost most. */
function Days(props: { sheet: string; app: string; since: string; currency: string }) {
  const by = props.since === '24h' ? 'hour' : 'day'
  const rows = useData<Cost>(`/v1/cost?by=${by}&${query({ prices: props.sheet, since: props.since, app: props.app }).slice(1)}`, 30_000)
  return (
    <Card title={`By ${by}`}>
      <Load from={rows}>{(c) => {
        const timed = c.rows.filter((r) => r.start)
        const most = Math.max(...timed.map((r) => r.cost.total), 1e-12)
        return timed.length === 0 ? <p class="quiet pad">Nothing yet.</p> : timed.length > 60 ? <Chart series={[line(timed)]} label={`cost by ${by}`} /> : (
          <ol class="bars" aria-label={`Cost by ${by}`}>{timed.map((r) => <li key={r.start}><time>{by === 'hour' ? r.start!.slice(11, 16) : r.start!.slice(5, 10)}</time><span><i style={{ width: `${(r.cost.total / most) * 100}%` }} /></span><b>{money(r.cost.total, c.currency)}</b></li>)}</ol>
        )
      }}</Load>
    </Card>
  )
}

const line = (rows: Row[]): Series => ({ label: 'cost', times: rows.map((r) => new Date(r.start!).getTime() / 1000), values: rows.map((r) => r.cost.total) })

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
