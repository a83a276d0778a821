import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { reread, save } from '../api'
import { query, useData, useStream } from '../data'
import { say } from '../dialogs'
import { clock, count, fromNanos, nanos, plural, stamp } from '../format'
import { Action, AppFilter, Failed, Filter, Filters, FunctionFilter, Load, Nothing, Page } from '../parts'
import { filter, go, location, param } from '../router'
import type { LogLine } from '../types'
import { useWindow } from '../virtual'
import { Running } from './invocations'

const page = 1000 // lines of one search; older ones are asked for when they are scrolled to
const most = 50_000 // lines that are kept here

/** What functions print: a live tail, or a search. */
export function Logs() {
  const live = param('since') === '' && param('text') === '' && param('at') === '' && param('field') === ''
  const q = { app: param('app'), function: param('function'), level: param('level'), stream: param('stream'), invocation: param('invocation'), trace: param('trace') }
  return (
    <Page title="Logs" tags={live && <Running held={false} />} aside={<Filters>
      <Filter name="text" label="Text" wide placeholder="in the line" /><AppFilter /><FunctionFilter />
      <Filter name="field" label="Field" placeholder="user.id=42" />
      <Filter name="level" label="Level" any="all" options={[['error', 'error'], ['warn', 'warn or worse'], ['info', 'info or worse'], ['debug', 'debug or worse']]} />
      <Filter name="since" label="Since" any="now on" options={[['15m', '15 minutes'], ['1h', '1 hour'], ['6h', '6 hours'], ['24h', '24 hours'], ['7d', '7 days']]} />
    </Filters>}>
      <Narrowed />
      {param('at') ? <Around q={{ app: q.app, function: q.function }} at={param('at')} /> : live ? <Tail q={q} /> : <Found q={{ ...q, text: param('text'), field: param('field'), since: param('since') || '24h', until: param('until') }} />}
    </Page>
  )
}

/** What of the address narrows the lines and has no field: each can be taken away. */
function Narrowed() {
  const set = ['invocation', 'trace', 'until', 'at'].filter((n) => param(n))
  if (set.length === 0) return null
  return <p class="chips">{set.map((n) => <button key={n} class="chip" onClick={() => filter(n, '')}  title="Take it away">{n === 'at' ? 'lines around' : n} {n === 'at' || n === 'until' ? stamp(param(n)) : param(n).slice(0, 12)} ×</button>)}</p>
}

function Tail(props: { q: Record<string, string> }) {
  const [held, setHeld] = useState(false)
  const { rows: lines, error } = useStream<LogLine>(`/v1/logs/tail${query({ ...props.q, lines: 500 })}`, most, held)
  if (error) return <Failed error={error} />
  if (lines.length === 0) return <Nothing title="Waiting for lines" icon="logs">What functions print appears here as it comes. Name a text, a field or a time to search what was printed before.</Nothing>
  return <Lines list={lines} tall follow aside={<><span class="quiet">{plural(lines.length, 'line')}</span><button aria-pressed={held} onClick={() => setHeld(!held)}>{held ? 'Go on' : 'Hold'}</button></>} />
}

type Answer = { lines: LogLine[] }

/** The newest lines that match, and older ones as they are scrolled to. */
function Found(props: { q: Record<string, string> }) {
  const path = (until: string) => `/v1/logs${query({ ...props.q, until, limit: page })}`
  const first = useData<Answer>(path(props.q.until))
  const [older, setOlder] = useState<{ key: string; lines: LogLine[]; end: boolean }>({ key: '', lines: [], end: false })
  const key = path(props.q.until)
  const before = older.key === key ? older.lines : []
  const end = older.key === key && older.end
  const lines = [...before, ...(first.value?.lines ?? [])]
  const more = async () => {
    // The last time is asked for again: a line of the same nanosecond may have been left out.
    const oldest = lines[0]
    const { lines: got } = await reread<Answer>(path(fromNanos(nanos(oldest.time) + 1n)))
    const had = new Set(lines.filter((l) => l.time === oldest.time).map((l) => l.text + l.invocation))
    const fresh = got.filter((l) => l.time !== oldest.time || !had.has(l.text + l.invocation))
    setOlder({ key, lines: [...fresh, ...before], end: fresh.length === 0 })
  }
  const full = (first.value?.lines.length ?? 0) >= page && !end && lines.length < most
  return (
    <>
      <Histogram q={props.q} />
      <Load from={first}>{() => lines.length === 0
        ? <Nothing title="No such lines" icon="search">Try a longer time, another text, or take a filter away.</Nothing>
        : <Lines list={lines} tall newest more={full ? more : undefined} aside={<><span class="quiet">{full ? `${count(lines.length)} and more lines` : plural(lines.length, 'line')}</span>{full && <Action run={more}>Older</Action>}<button onClick={() => save('lines.ndjson', new Blob(lines.map((l) => JSON.stringify(l) + '\n')))}>Save</button></>} />}</Load>
    </>
  )
}

/** A line and what its function printed before and after it. */
function Around(props: { q: Record<string, string>; at: string }) {
  const before = useData<Answer>(`/v1/logs${query({ ...props.q, until: props.at, limit: 50 })}`)
  const after = useData<Answer>(`/v1/logs${query({ ...props.q, since: props.at, order: 'oldest', limit: 51 })}`)
  return <Load from={before}>{(b) => <Load from={after}>{(a) => <Lines list={[...b.lines, ...a.lines]} tall mark={props.at} aside={<span class="quiet">{b.lines.length} lines before, {Math.max(0, a.lines.length - 1)} after</span>} />}</Load>}</Load>
}

interface Bucket { start: string; error: number; warn: number; info: number; debug: number; other: number }
const levels = ['error', 'warn', 'info', 'debug', 'other'] as const

/** Lines over time by level. A click looks closer. */
function Histogram(props: { q: Record<string, string> }) {
  const n = 90
  const h = useData<{ buckets: Bucket[] }>(`/v1/logs/histogram${query({ ...props.q, buckets: n })}`)
  const buckets = h.value?.buckets ?? []
  const sums = buckets.map((b) => levels.reduce((s, l) => s + b[l], 0))
  const max = Math.max(...sums, 1)
  const total = sums.reduce((a, b) => a + b, 0)
  const closer = (i: number) => {
    const url = new URL(location.value)
    url.searchParams.set('since', buckets[i].start)
    url.searchParams.set('until', buckets[i + 1]?.start ?? new Date().toISOString())
    go(url.pathname + url.search)
  }
  return (
    <figure class="histogram">
      <svg viewBox={`0 0 ${n * 10} 60`} preserveAspectRatio="none" role="img" aria-label={`${count(total)} lines over time, at most ${count(max)} at once`}>
        {buckets.map((b, i) => {
          let y = 60
          return (
            <g key={b.start} onClick={() => sums[i] > 0 && closer(i)}>
              <title>{`${stamp(b.start)}: ${count(sums[i])} lines${b.error ? `, ${count(b.error)} errors` : ''}`}</title>
              <rect class="back" x={i * 10} width={10} y={0} height={60} />
              {levels.map((l) => {
                const height = (b[l] / max) * 58
                y -= height
                return height > 0 && <rect key={l} class={l} x={i * 10 + 0.75} width={8.5} y={y} height={height} />
              })}
            </g>
          )
        })}
      </svg>
      <figcaption><span>{buckets[0] && stamp(buckets[0].start)}</span><span class="keys">{(['error', 'warn', 'info'] as const).map((l) => <span key={l}><i class={l} />{l}</span>)}</span><span>{h.value ? `${count(total)} lines` : h.error ? h.error.message : 'Counting…'}</span><span>{props.q.until ? stamp(props.q.until) : 'now'}</span></figcaption>
    </figure>
  )
}

interface LinesProps {
  list: LogLine[]
  tall?: boolean
  follow?: boolean // stay at the end while it is seen
  newest?: boolean // begin at the end
  mark?: string // the time of the line that is meant
  more?: () => Promise<void> // asked for at the top
  aside?: preact.ComponentChildren
}

const height = 24

/** Lines in rows of one height, of which those in sight are drawn; a click shows all of one. */
export function Lines(props: LinesProps) {
  const { list } = props
  const { at, from, to } = useWindow(list.length, height, 20)
  const [open, setOpen] = useState<LogLine>()
  const end = useRef(true)
  const before = useRef<{ first?: LogLine; length: number }>({ length: 0 })
  const loading = useRef(false)
  useLayoutEffect(() => {
    const box = at.current!
    const grown = list.length - before.current.length
    const older = grown > 0 && before.current.first !== undefined && list[0] !== before.current.first && list[grown] === before.current.first
    if (older) box.scrollTop += grown * height // what is looked at stays where it is
    else if (before.current.length === 0 && props.mark) box.scrollTop = Math.max(0, list.findIndex((l) => l.time === props.mark) * height - box.clientHeight / 2)
    else if ((props.follow && end.current) || (before.current.length === 0 && props.newest)) box.scrollTop = box.scrollHeight
    before.current = { first: list[0], length: list.length }
  }, [list])
  const more = useRef(props.more)
  more.current = props.more
  useEffect(() => {
    const box = at.current!
    const onScroll = () => {
      end.current = box.scrollTop + box.clientHeight > box.scrollHeight - 2 * height
      if (!more.current || loading.current || box.scrollTop >= 10 * height || before.current.length === 0) return
      loading.current = true
      void more.current().catch((err: Error) => say(err.message, true)).finally(() => {
        loading.current = false
        requestAnimationFrame(onScroll) // who is at the top meanwhile waits for more
      })
    }
    box.addEventListener('scroll', onScroll, { passive: true })
    return () => box.removeEventListener('scroll', onScroll)
  }, [])
  return (
    <section class="panel">
      {props.aside && <header><h2>Lines</h2><div class="aside">{props.aside}</div></header>}
      <div class={open ? 'split' : ''}>
        <div ref={at} class={props.tall ? 'scroll lines tall' : 'scroll lines'} tabIndex={0} role="log" aria-live="off" aria-label="Lines">
          <div style={{ height: `${list.length * height}px`, position: 'relative' }}>
            <div style={{ transform: `translateY(${from * height}px)` }}>
              {list.slice(from, to).map((l, i) => <Line key={from + i} of={l} marked={l.time === props.mark} open={l === open} show={() => setOpen(l === open ? undefined : l)} />)}
            </div>
          </div>
        </div>
        {open && <Detail of={open} close={() => setOpen(undefined)} />}
      </div>
    </section>
  )
}

/** The line of a text that says most, and how many others it has: of a Python traceback the last, else the first. */
export function head(text: string): [line: string, others: number] {
  const lines = text.trimEnd().split('\n')
  return [text.startsWith('Traceback (') ? lines[lines.length - 1] : lines[0], lines.length - 1]
}

function Line(props: { of: LogLine; open: boolean; marked: boolean; show: () => void }) {
  const l = props.of
  const fields = l.fields && Object.entries(l.fields).filter(([k]) => !['level', 'time', 'timestamp', 'ts', 'severity'].includes(k)).slice(0, 6)
  const [one, more] = head(l.message ?? l.text)
  return (
    <button class={`line ${l.level ?? ''} ${props.open ? 'open' : ''} ${props.marked ? 'marked' : ''}`} aria-expanded={props.open} onClick={props.show}>
      <time>{clock(l.time)}</time>
      <span class={`level ${l.level ?? 'other'}`}>{l.level ?? l.stream.slice(3)}</span>
      <span class="from">{l.function}</span>
      <span class="text">{one}{more > 0 && <span class="more"> +{plural(more, 'line')}</span>}{fields?.map(([k, v]) => <span key={k} class="pair"> {k}=<b>{typeof v === 'object' ? JSON.stringify(v) : String(v)}</b></span>)}</span>
    </button>
  )
}

function Detail(props: { of: LogLine; close: () => void }) {
  const l = props.of
  const around = `/logs${query({ app: l.app, function: l.function, at: l.time })}`
  const only = (k: string, v: unknown) => `/logs${query({ app: l.app, function: l.function, field: `${k}=${v}`, since: param('since') || '24h' })}`
  return (
    <aside class="detail" aria-label="Line">
      <header><b>{stamp(l.time).slice(0, 10)} {clock(l.time)}</b><button class="plain" aria-label="Close" onClick={props.close}>×</button></header>
      <pre tabIndex={0} aria-label="Text">{l.message ?? l.text}</pre>
      <p class="chips">
        <a class="chip" href={around}>Lines around it</a>
        {l.trace_id && <a class="chip" href={`/traces/${l.trace_id}`}>Trace</a>}
        {l.invocation && <a class="chip" href={`/logs${query({ invocation: l.invocation, since: '7d' })}`}>Lines of this call</a>}
        <a class="chip" href={`/functions/${l.app}/${l.function}`}>{l.app}/{l.function}</a>
      </p>
      <dl class="pairs">
        {l.fields && Object.entries(l.fields).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{typeof v === 'object' ? <code>{JSON.stringify(v)}</code> : <a href={only(k, v)} title="Lines with this value">{String(v)}</a>}</dd></div>)}
        {([['level', l.fields?.level === undefined && l.level], ['stream', l.stream], ['version', l.version], ['instance', l.instance], ['call', l.invocation], ['trace', l.trace_id], ['span', l.span_id]] as const).map(([k, v]) => v ? <div key={k}><dt>{k}</dt><dd><code>{v}</code></dd></div> : null)}
      </dl>
    </aside>
  )
}
