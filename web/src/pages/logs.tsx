import { query, useData, useStream } from '../data'
import { clock } from '../format'
import { Filter, Load, Nothing, Page } from '../parts'
import { filter, param } from '../router'
import type { LogLine } from '../types'

/** What functions print: a live tail, or a search. */
export function Logs() {
  const live = param('since') === '' && param('text') === ''
  const q = { app: param('app'), function: param('function'), level: param('level'), invocation: param('invocation'), trace: param('trace') }
  const tail = useStream<LogLine>(live ? `/v1/logs/tail${query({ ...q, lines: 200 })}` : null, 1000)
  const found = useData<{ lines: LogLine[] }>(live ? null : `/v1/logs${query({ ...q, text: param('text'), since: param('since'), limit: 1000 })}`)
  return (
    <Page title="Logs" aside={<form class="filters" onSubmit={(e) => e.preventDefault()}>
      <Filter name="text" label="Text" /><Filter name="app" label="App" /><Filter name="function" label="Function" />
      <Filter name="level" label="Level" options={['debug', 'info', 'warn', 'error']} />
      <Filter name="since" label="Since" options={['15m', '1h', '24h', '7d']} />
    </form>}>
      {!live && <Histogram q={{ ...q, text: param('text'), since: param('since') || '24h' }} />}
      {live
        ? tail.length === 0
          ? <Nothing title="Waiting for lines">What functions print appears here. Name a text or a time to search instead.</Nothing>
          : <Lines list={tail} />
        : <Load from={found}>{({ lines }) => lines.length === 0 ? <Nothing title="No such lines">Try a longer time or another text.</Nothing> : <Lines list={lines} />}</Load>}
    </Page>
  )
}

function Histogram(props: { q: Record<string, string> }) {
  const h = useData<{ buckets: { start: string; error: number; warn: number; info: number; debug: number; other: number }[] }>(`/v1/logs/histogram${query({ ...props.q, buckets: 60 })}`)
  const counts = h.value?.buckets.map((b) => b.error + b.warn + b.info + b.debug + b.other) ?? []
  const most = Math.max(...counts, 1)
  return (
    <svg class="histogram" viewBox="0 0 600 40" preserveAspectRatio="none" role="img" aria-label={`Lines over time, at most ${most} at once`}>
      {counts.map((n, i) => <rect key={i} x={i * 10} width={9} y={40 - (n / most) * 40} height={(n / most) * 40} class={h.value!.buckets[i].error ? 'bad' : ''} />)}
    </svg>
  )
}

export function Lines(props: { list: LogLine[] }) {
  return (
    <div class="scroll lines" tabIndex={0} role="log" aria-label="Lines">
      {props.list.map((l, i) => (
        <div key={i} class={`line ${l.level ?? ''}`}>
          <time title={l.time}>{clock(l.time)}</time>
          <a href={`/functions/${l.app}/${l.function}`}>{l.function}</a>
          <span class="text">{l.text}</span>
          {l.trace_id && <a class="more" href={`/traces/${l.trace_id}`}>trace</a>}
          {l.invocation && <button class="more" onClick={() => filter('invocation', l.invocation!)}>call</button>}
        </div>
      ))}
    </div>
  )
}
