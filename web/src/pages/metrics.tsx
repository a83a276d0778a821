import { useEffect, useState } from 'preact/hooks'
import { Chart, type Matrix, named, number, rangePath, type Series } from '../chart'
import { useData, useTick } from '../data'
import { brief } from '../format'
import { Filter, Filters, Load, Nothing, Page, Table } from '../parts'
import { filter, param } from '../router'

const questions: [name: string, expr: string][] = [
  ['Calls per second', 'sum by (app, function) (rate(faas_invocations_total[1m]))'],
  ['Errors per second', 'sum by (app, function) (rate(faas_errors_total[1m]))'],
  ['p99 seconds', 'histogram_quantile(0.99, sum by (app, function) (rate(faas_invoke_duration_seconds[5m])))'],
  ['Cold starts per minute', 'sum by (app, function) (rate(faas_coldstarts_total[1m])) * 60'],
  ['Instances', 'sum by (app, function, state) (mayfly_instances)'],
  ['Calls under way', 'sum by (app, function) (mayfly_calls_running)'],
  ['Queue depth', 'sum by (app, queue) (mayfly_queue_depth)'],
  ['CPU seconds per second', 'sum by (app, function) (rate(faas_cpu_usage_seconds_total[1m]))'],
  ['Memory of the node', 'process_resident_memory_bytes'],
]
const shown = 20 // series of one chart

/** PromQL over the node's metrics. */
export function Metrics() {
  const expr = param('expr') || questions[0][1]
  const minutes = Number(param('minutes') || 60)
  useTick(10_000)
  const answer = useData<Matrix>(rangePath(expr, minutes), 0, true)
  return (
    <Page title="Metrics" aside={<Filters><Filter name="minutes" label="Last" any="hour" options={[['15', '15 minutes'], ['360', '6 hours'], ['1440', 'day'], ['10080', 'week']]} /></Filters>}>
      <Question expr={expr} />
      <p class="chips">{questions.map(([name, e]) => <button key={name} class="chip" aria-pressed={e === expr} onClick={() => filter('expr', e)}>{name}</button>)}</p>
      <Load from={answer}>{(m) => m.data.result.length === 0
        ? <Nothing title="No samples" icon="metrics">Samples are taken each ten seconds, of functions that were called. A longer time or another question may have some.</Nothing>
        : <Answer result={m.data.result} label={expr} minutes={minutes} />}</Load>
    </Page>
  )
}

function Question(props: { expr: string }) {
  const [text, setText] = useState(props.expr)
  useEffect(() => setText(props.expr), [props.expr])
  const names = useData<{ data: string[] }>('/api/v1/label/__name__/values')
  return (
    <form class="question" onSubmit={(e) => { e.preventDefault(); filter('expr', text.trim()) }}>
      <label for="expr">PromQL</label>
      <input id="expr" list="metrics" value={text} spellcheck={false} autocomplete="off" onInput={(e) => setText(e.currentTarget.value)} />
      <datalist id="metrics">{names.value?.data.map((n) => <option key={n} value={n} />)}</datalist>
      <button class="primary">Ask</button>
    </form>
  )
}

function Answer(props: { result: Matrix['data']['result']; label: string; minutes: number }) {
  const last = (r: Matrix['data']['result'][0]) => number(r.values[r.values.length - 1][1]) ?? 0
  const sorted = [...props.result].sort((a, b) => last(b) - last(a))
  const series: Series[] = sorted.slice(0, shown).map((r) => ({ label: named(r.metric), times: r.values.map(([t]) => t), values: r.values.map(([, v]) => number(v)) }))
  const format = (v: number) => (Math.abs(v) >= 10_000 ? brief(v) : String(Number(v.toPrecision(4))))
  return (
    <>
      <div class="card"><Chart series={series} label={props.label} minutes={props.minutes} fit={!param('minutes')} height={320} format={format} /></div>
      {sorted.length > shown && <p class="quiet">The {shown} largest of {sorted.length} series are drawn.</p>}
      <Table label="The last values" head={['Series', ['Value', 'number'], ['Least', 'number'], ['Most', 'number']]}>
        {sorted.slice(0, 200).map((r) => {
          const values = r.values.map(([, v]) => number(v)).filter((v) => v !== null)
          return <tr key={named(r.metric)}><td>{named(r.metric)}</td><td class="number">{format(last(r))}</td><td class="number">{format(Math.min(...values))}</td><td class="number">{format(Math.max(...values))}</td></tr>
        })}
      </Table>
    </>
  )
}
