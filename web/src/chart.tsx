// Charts over time, and PromQL behind them.
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { query, useData, useTick } from './data'
import { utc, zoned } from './format'
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
  if (!name && labels.app && labels.function) {
    const { app, function: fn, ...others } = labels
    return [`${app}/${fn}`, ...Object.entries(others).map(([k, v]) => `${k}=${v}`)].join(' ')
  }
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
  fit?: boolean // leave the time before the first sample away
  height?: number
  format?: (v: number) => string
  points?: Point[] // calls that stand for others: a click opens the trace
}

const plainNumber = (v: number) => String(Math.round(v * 1000) / 1000)

/** A chart with its legend, which says the last values and hides a series with a click. It is a slider over time for readers: the arrow keys read values at their time. */
export function Chart(props: Props) {
  const { series, points, label, height = 220, format = plainNumber } = props
  const at = useRef<HTMLDivElement>(null)
  const now = useRef(props)
  now.current = props
  const plot = useRef<uPlot | undefined>(undefined)
  const [hidden, setHidden] = useState<Set<string>>(new Set())
  const shape = series.map((s) => s.label).join('\n')
  useEffect(() => {
    const box = at.current!
    const u = new uPlot(options(now, box.clientWidth, height), align(now.current.series), box)
    plot.current = u
    const resize = new ResizeObserver(() => u.setSize({ width: box.clientWidth, height }))
    resize.observe(box)
    return () => {
      resize.disconnect()
      u.destroy()
    }
  }, [shape, drawnIn.value, utc.value, height])
  // New values are put into the chart that is there, so that what is read on it stays.
  useEffect(() => plot.current?.setData(align(series)), [series, points])
  useEffect(() => series.forEach((s, i) => plot.current?.setSeries(i + 1, { show: !hidden.has(s.label) })), [hidden, shape, drawnIn.value, utc.value, height])
  const toggle = (name: string) => setHidden((old) => { const next = new Set(old); if (!next.delete(name)) next.add(name); return next })
  const onKey = (ev: KeyboardEvent) => {
    const u = plot.current
    const by = { ArrowRight: 1, ArrowLeft: -1 }[ev.key]
    if (!u || !by) return
    ev.preventDefault()
    const times = u.data[0]
    const idx = Math.min(times.length - 1, Math.max(0, u.cursor.idx === null || u.cursor.idx === undefined ? times.length - 1 : u.cursor.idx + by))
    u.setCursor({ left: u.valToPos(times[idx], 'x'), top: 0 })
  }
  const last = (s: Series) => [...s.values].reverse().find((v) => v !== null)
  const said = (s: Series) => { const v = last(s); return v === undefined || v === null ? '–' : format(v) }
  return (
    <figure class="chart">
      <div ref={at} class="plot" role="slider" tabIndex={0} aria-label={`Chart of ${label}`} aria-valuemin={0} aria-valuemax={Math.max(0, ...series.map((s) => s.times.length - 1))} aria-valuenow={0} aria-valuetext={series.map((s) => `${s.label} ${said(s)}`).join(', ')} onKeyDown={onKey} />
      <figcaption class="keys">{series.map((s, i) => (
        <button key={s.label} class="plain" aria-pressed={!hidden.has(s.label)} onClick={() => toggle(s.label)}><i style={{ background: `var(${colours[i % colours.length]})` }} />{s.label} <b>{said(s)}</b></button>
      ))}</figcaption>
    </figure>
  )
}

const least = 300 // seconds that an axis shows at least

function options(now: { current: Props }, width: number, height: number): uPlot.Options {
  const quiet = colour('--quiet')
  const line = colour('--line')
  const format = (v: number) => (now.current.format ?? plainNumber)(v)
  const axis = { stroke: quiet, ticks: { show: false }, font: '11px system-ui, sans-serif' }
  const paint = (i: number) => colour(colours[i % colours.length])
  const { series } = now.current
  const span = (_u: uPlot, min: number, max: number): [number, number] => {
    const { minutes, fit } = now.current
    if (!minutes) return [min, max]
    const { start, end } = range(minutes)
    return [fit && min > start ? Math.min(min, end - least) : start, end]
  }
  return {
    width, height,
    cursor: { points: { size: 7 }, y: false, drag: { x: false, y: false }, sync: { key: 'time' } },
    legend: { show: false },
    padding: [10, 8, 0, 0],
    scales: { x: { range: span }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.06 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, values: (_u, ticks, _i, _space, step) => ticks.map((t) => moment(t, step)) },
      { ...axis, grid: { stroke: line, width: 1 }, gap: 8, size: (_u, texts) => 18 + 6.2 * Math.max(0, ...(texts ?? []).map((t) => t.length)), values: (_u, ticks) => ticks.map(format) },
    ],
    series: [{}, ...series.map((s, i) => ({
      label: s.label, stroke: paint(i), width: 1.75, spanGaps: false,
      fill: series.length <= 3 ? paint(i).replace('rgb(', 'rgba(').replace(')', ', .07)') : undefined,
      points: { show: s.values.filter((v) => v !== null).length < 3, size: 5 },
    }))],
    plugins: [reading(now, format), exemplars(now, format)],
  }
}

/** A time of the axis, as exact as its ticks are apart. */
function moment(t: number, step: number): string {
  const d = zoned(t * 1000)
  const text = d.toISOString()
  if (step >= 86_400 || (d.getUTCHours() === 0 && d.getUTCMinutes() === 0 && step >= 3600)) return text.slice(5, 10)
  return text.slice(11, step < 60 ? 19 : 16)
}

const read = 12 // series of one reading

/** What the series are at the cursor, the largest first, beside it. */
function reading(now: { current: Props }, format: (v: number) => string): uPlot.Plugin {
  const box = document.createElement('div')
  box.className = 'reading'
  box.hidden = true
  let here = false // the other charts of the page follow the cursor, and are not read
  const show = (u: uPlot) => {
    const { idx, left } = u.cursor
    here = u.over.matches(':hover') || document.activeElement === u.root.parentElement
    box.hidden = !here || idx === null || idx === undefined || (left ?? -1) < 0
    if (box.hidden) return
    const rows = u.series.slice(1).map((s, i) => ({ s, i, v: u.data[i + 1][idx!] })).filter((r) => r.s.show && r.v !== null && r.v !== undefined).sort((a, b) => b.v! - a.v!)
    const head = document.createElement('b')
    head.textContent = zoned(u.data[0][idx!] * 1000).toISOString().slice(now.current.minutes && now.current.minutes <= 1440 ? 11 : 5, 19).replace('T', ' ')
    box.replaceChildren(head, ...rows.slice(0, read).map(({ s, i, v }) => {
      const row = document.createElement('p')
      const mark = document.createElement('i')
      mark.style.background = `var(${colours[i % colours.length]})`
      const value = document.createElement('b')
      value.textContent = format(v!)
      row.append(mark, String(s.label), value)
      return row
    }))
    if (rows.length > read) box.append(`and ${rows.length - read} more`)
    if (document.activeElement === u.root.parentElement) {
      u.root.parentElement!.setAttribute('aria-valuenow', String(idx))
      u.root.parentElement!.setAttribute('aria-valuetext', `${head.textContent}: ${rows.slice(0, read).map(({ s, v }) => `${s.label} ${format(v!)}`).join(', ')}`)
    }
    const right = left! > u.over.clientWidth / 2
    box.style.left = right ? 'auto' : `${left! + 14}px`
    box.style.right = right ? `${u.over.clientWidth - left! + 14}px` : 'auto'
  }
  return { hooks: { init: (u) => u.over.append(box), setCursor: show } }
}

/** Dots over the plot that are links to traces; the same are listed below for keyboards. */
function exemplars(now: { current: Props }, format: (v: number) => string): uPlot.Plugin {
  const layer = document.createElement('div')
  layer.className = 'dots'
  const draw = (plot: uPlot) => {
    const { min, max } = plot.scales.x
    layer.replaceChildren(...(now.current.points ?? []).filter((p) => p.time >= (min ?? 0) && p.time <= (max ?? 0)).map((p) => {
      const dot = document.createElement('i')
      dot.style.left = `${plot.valToPos(p.time, 'x')}px`
      dot.style.top = `${Math.max(0, plot.valToPos(p.value, 'y'))}px`
      dot.title = `${format(p.value)}: open the trace`
      dot.onclick = () => go(`/traces/${p.trace}`)
      return dot
    }))
  }
  return { hooks: { init: (u) => u.over.append(layer), draw } }
}
