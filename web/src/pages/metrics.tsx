import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { query, useData } from '../data'
import { Filter, Load, Nothing, Page } from '../parts'
import { filter, param } from '../router'

interface Matrix { data: { result: { metric: Record<string, string>; values: [number, string][] }[] } }

const questions: [name: string, expr: string][] = [
  ['Calls per second', 'sum by (function) (rate(faas_invocations_total[1m]))'],
  ['Errors per second', 'sum by (function) (rate(faas_errors_total[1m]))'],
  ['Cold starts per minute', 'sum by (function) (rate(faas_coldstarts_total[1m])) * 60'],
  ['p99 seconds', 'histogram_quantile(0.99, sum by (function) (rate(faas_invoke_duration_seconds[5m])))'],
  ['Instances', 'sum by (function, state) (mayfly_instances)'],
]

/** PromQL over the node's metrics. */
export function Metrics() {
  const expr = param('expr') || questions[0][1]
  const minutes = Number(param('minutes') || 60)
  const end = Math.floor(Date.now() / 10000) * 10
  const answer = useData<Matrix>(`/api/v1/query_range${query({ query: expr, start: end - minutes * 60, end, step: Math.max(10, Math.floor((minutes * 60) / 300)) })}`)
  return (
    <Page title="Metrics" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}>
      <Filter name="expr" label="PromQL" placeholder={expr} /><Filter name="minutes" label="Minutes" options={['15', '60', '360', '1440']} />
    </form>}>
      <p class="chips">{questions.map(([name, e]) => <button key={name} aria-pressed={e === expr} onClick={() => filter('expr', e)}>{name}</button>)}</p>
      <Load from={answer}>{(m) => m.data.result.length === 0
        ? <Nothing title="No samples">Samples are taken every ten seconds, of functions that were called.</Nothing>
        : <Chart series={m.data.result} label={expr} />}</Load>
    </Page>
  )
}

const colours = ['#178a6e', '#b3541e', '#3b6fd4', '#9b3fa8', '#7a7a1c', '#c2255c', '#0b7285', '#5f3dc4']

function Chart(props: { series: Matrix['data']['result']; label: string }) {
  const at = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const shown = props.series.slice(0, 20)
    const times = [...new Set(shown.flatMap((s) => s.values.map((v) => v[0])))].sort((a, b) => a - b)
    const columns = shown.map((s) => {
      const by = new Map(s.values.map(([t, v]) => [t, Number(v)]))
      return times.map((t) => by.get(t) ?? null)
    })
    const plot = new uPlot({
      width: at.current!.clientWidth,
      height: 320,
      series: [{}, ...shown.map((s, i) => ({ label: Object.values(s.metric).join(' ') || 'value', stroke: colours[i % colours.length], width: 1.5 }))],
      axes: [{ stroke: 'currentColor' }, { stroke: 'currentColor' }],
    }, [times, ...columns] as uPlot.AlignedData, at.current!)
    const resize = new ResizeObserver(() => plot.setSize({ width: at.current!.clientWidth, height: 320 }))
    resize.observe(at.current!)
    return () => {
      resize.disconnect()
      plot.destroy()
    }
  }, [props.series])
  return <div ref={at} class="chart" role="img" aria-label={`Chart of ${props.label}`} />
}
