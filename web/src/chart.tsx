// Charts over time, and PromQL behind them.
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { query, useData, useTick } from './data'
import { go } from './router'
import { colour, drawn as drawnIn, series as colours } from './theme'

export interface Matrix { data: { result: { metric: Record<string, string>; values: [number, string][] }[] } }
export interface Series { label: string; times: number[]; values: (number | null)[] }
export interface Point { time: number; value: number; trace: string }

/** The end of what is shown, which moves on in steps, so that a range that is asked for again is the same. */
export function range(minutes: number, points = 240) {
  const step = Math.max(10, Math.ceil((minutes * 60) / points / 10) * 10)
  const end = Math.floor(Date.now() / 1000 / step) * step
  return { start: end - minutes * 60, end, step }
}

export const rangePath = (expr: string, minutes: number) => `/api/v1/query_range${query({ query: expr, ...range(minutes) })}`

/** Asks several questions of PromQL over the same time. */
export function useRanges(questions: [label: string, expr: string][], minutes: number): { series?: Series[]; error?: Error } {
  useTick(10_000)
  const answers = questions.map(([, expr]) => useData<Matrix>(rangePath(expr, minutes), 0, true))
  const error = answers.find((a) => a.error)?.error
  if (error || answers.some((a) => !a.value)) return { error }
  return { series: questions.flatMap(([label], i) => answers[i].value!.data.result.map((r) => ({ label: label || named(r.metric), times: r.values.map(([t]) => t), values: r.values.map(([, v]) => number(v)) }))) }
}

export const number = (v: string) => (v === 'NaN' || v === '+Inf' || v === '-Inf' ? null : Number(v))

export function named(metric: Record<string, string>): string {
  const { __name__: name, ...labels } = metric
  const text = Object.entries(labels).map(([k, v]) => (Object.keys(labels).length === 1 ? v : `${k}=${v}`)).join(' ')
  return [name, text].filter(Boolean).join(' ') || 'value'
}

/** Puts series on the times of all of them. */
export function align(list: Series[]): uPlot.AlignedData {
  const times = [...new Set(list.flatMap((s) => s.times))].sort((a, b) => a - b)
  return [times, ...list.map((s) => {
    const by = new Map(s.times.map((t, i) => [t, s.values[i]]))
    return times.map((t) => by.get(t) ?? null)
  })] as uPlot.AlignedData
}

interface Props {
  series: Series[]
  label: string
  minutes?: number // of the axis, where it is more than the samples fill
  height?: number
  format?: (v: number) => string
  points?: Point[] // calls that stand for others: a click opens the trace
  stacked?: boolean
}

export function Chart(props: Props) {
  const at = useRef<HTMLDivElement>(null)
  const { series, points, label, height = 220 } = props
  useEffect(() => {
    const box = at.current!
    const plot = new uPlot(options(props, box.clientWidth, height), data(props), box)
    const dots = points?.length ? overlay(plot, points, props.format) : undefined
    const resize = new ResizeObserver(() => {
      plot.setSize({ width: box.clientWidth, height })
      dots?.()
    })
    resize.observe(box)
    return () => {
      resize.disconnect()
      plot.destroy()
    }
  }, [series, points, drawnIn.value, height])
  return <div ref={at} class="chart" role="img" aria-label={`Chart of ${label}`} />
}

function data(p: Props): uPlot.AlignedData {
  const aligned = align(p.series)
  if (!p.stacked) return aligned
  const sums = (aligned[0] as number[]).map(() => 0)
  const stacked = (aligned.slice(1) as (number | null)[][]).map((column) => column.map((v, i) => (sums[i] += v ?? 0)))
  return [aligned[0], ...stacked.reverse()] as uPlot.AlignedData
}

function options(p: Props, width: number, height: number): uPlot.Options {
  const quiet = colour('--quiet')
  const line = colour('--line')
  const format = p.format ?? ((v: number) => String(Math.round(v * 1000) / 1000))
  const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' }
  const drawn = p.stacked ? [...p.series].reverse() : p.series
  const paint = (i: number) => colour(colours[(p.stacked ? drawn.length - 1 - i : i) % colours.length])
  const end = p.minutes ? range(p.minutes) : undefined
  return {
    width, height,
    cursor: { points: { size: 6 }, y: false },
    legend: { live: true },
    scales: {
      x: end ? { range: () => [end.start, end.end] } : {},
      y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.15 : 1] },
    },
    axes: [{ ...axis, grid: { show: false }, size: 26, values: (_u, ticks, _i, _space, step) => ticks.map((t) => moment(t, step)) }, { ...axis, size: 62, values: (_u, ticks) => ticks.map((v) => format(v)) }],
    series: [{ value: (_u, t) => (t ? new Date(t * 1000).toLocaleTimeString() : '') }, ...drawn.map((s, i) => ({
      label: s.label, stroke: paint(i), width: 1.75, spanGaps: false,
      fill: p.stacked ? paint(i).replace('rgb(', 'rgba(').replace(')', ', .75)') : undefined,
      points: { show: s.values.filter((v) => v !== null).length < 3, size: 5 },
      value: (_u: uPlot, v: number | null) => (v === null || v === undefined ? '–' : format(v)),
    }))],
  }
}

/** A time of the axis, as exact as its ticks are apart. */
function moment(t: number, step: number): string {
  const d = new Date(t * 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  if (step >= 86_400 || (d.getHours() === 0 && d.getMinutes() === 0 && step >= 3600)) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`
  return `${two(d.getHours())}:${two(d.getMinutes())}${step < 60 ? `:${two(d.getSeconds())}` : ''}`
}

/** Dots over the plot that are links to traces; the same are listed below for keyboards. */
function overlay(plot: uPlot, points: Point[], format?: (v: number) => string): () => void {
  const layer = document.createElement('div')
  layer.className = 'dots'
  plot.over.append(layer)
  const draw = () => {
    layer.replaceChildren(...points.map((p) => {
      const dot = document.createElement('i')
      const y = plot.valToPos(p.value, 'y')
      dot.style.left = `${plot.valToPos(p.time, 'x')}px`
      dot.style.top = `${Math.max(0, y)}px`
      dot.title = `${format?.(p.value) ?? p.value}: open the trace`
      dot.onclick = () => go(`/traces/${p.trace}`)
      return dot
    }))
  }
  draw()
  return draw
}
