import { query, useData } from '../data'
import { percent } from '../format'
import { Filter, Load, Nothing, Page, Stat, Table } from '../parts'
import { param } from '../router'

interface Money { total: number }
interface Row { app: string; function?: string; usage: { requests: number; billed_ms: number; cpu_ns: number }; cost: Money }
interface Budget { app: string; amount: number; spent: number; share: number; currency: string; action: string; stopped: boolean; resets: string }
interface Cost { currency: string; rows: Row[]; total: Money; month_to_date: Money; forecast: Money }

/** What the same usage costs under a price sheet. */
export function CostPage() {
  const prices = useData<{ sheets?: { name: string }[] }>('/v1/prices')
  const cost = useData<Cost>(`/v1/cost${query({ prices: param('prices'), since: param('since') })}`, 10000)
  const budgets = useData<{ budgets: Budget[] }>('/v1/budgets', 10000)
  const names = prices.value?.sheets?.map((s) => s.name) ?? []
  return (
    <Page title="Cost" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}>
      <Filter name="prices" label="Prices" options={names} /><Filter name="since" label="Since" options={['24h', '7d', '30d']} />
    </form>}>
      <Load from={cost}>{(c) => {
        const money = (n: number) => `${n.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${c.currency}`
        return (
          <>
            <dl class="stats"><Stat name="Total">{money(c.total.total)}</Stat><Stat name="Month to date">{money(c.month_to_date.total)}</Stat><Stat name="Forecast for the month">{money(c.forecast.total)}</Stat></dl>
            {c.rows.length === 0 ? <Nothing title="Nothing was used">Usage appears here within a second of a call.</Nothing> : (
              <Table label="By function" head={['Function', 'Requests', 'Billed', 'Processor', 'Cost']}>
                {c.rows.map((r) => (
                  <tr key={r.app + r.function}><td>{r.app}/{r.function}</td><td class="number">{r.usage.requests}</td><td class="number">{(r.usage.billed_ms / 1000).toFixed(3)} s</td><td class="number">{(r.usage.cpu_ns / 1e9).toFixed(3)} s</td><td class="number">{money(r.cost.total)}</td></tr>
                ))}
              </Table>
            )}
          </>
        )
      }}</Load>
      <Load from={budgets}>{({ budgets }) => budgets.length === 0 ? <p class="quiet">No app has a budget: <code>budget: {'{amount: 20, prices: lambda-x86}'}</code> in <code>mayfly.yaml</code>.</p> : (
        <Table label="Budgets" head={['App', 'Spent', 'Of', 'Share', 'At its end', 'Resets']}>
          {budgets.map((b) => (
            <tr key={b.app}><td>{b.app} {b.stopped && <span class="tag bad">stopped</span>}</td><td class="number">{b.spent.toPrecision(3)} {b.currency}</td><td class="number">{b.amount} {b.currency}</td>
              <td><meter min={0} max={1} value={b.share} aria-label={`${b.app} has spent ${percent(b.share)}`} /> {percent(b.share)}</td><td>{b.action}</td><td>{new Date(b.resets).toLocaleDateString()}</td></tr>
          ))}
        </Table>
      )}</Load>
    </Page>
  )
}
