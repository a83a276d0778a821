import { useState } from 'preact/hooks'
import { Problem, send } from '../api'
import { useData } from '../data'
import { duration, pretty } from '../format'
import { Action, Card, Outcome, Tag } from '../parts'
import type { FunctionInfo, Invocation, LogLine } from '../types'
import { Lines } from './logs'

/** Events of the shapes that the function's triggers send. */
export function samples(info: FunctionInfo): [name: string, event: unknown][] {
  const out: [string, unknown][] = [['empty', {}]]
  const now = new Date().toISOString()
  for (const t of info.spec.on ?? []) {
    if (t.http) {
      const [method, path] = String(t.http).includes(' ') ? String(t.http).split(' ') : ['GET', String(t.http)]
      out.push([String(t.http), { version: '2.0', routeKey: t.http, rawPath: path, rawQueryString: '', headers: { accept: '*/*' }, requestContext: { http: { method, path, sourceIp: '127.0.0.1' } }, isBase64Encoded: false }])
    }
    if (t.queue) out.push([`queue ${t.queue}`, { Records: [{ messageId: 'test', body: '{}', attributes: { ApproximateReceiveCount: '1' }, eventSource: 'aws:sqs' }] }])
    if (t.bucket) out.push([`bucket ${t.bucket}`, { Records: [{ eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: { bucket: { name: t.bucket }, object: { key: 'a/file.txt', size: 5 } } }] }])
    if (t.schedule) out.push([`schedule ${t.schedule}`, { source: 'aws.events', 'detail-type': 'Scheduled Event', time: now, detail: {} }])
    if (t.topic || t.stream) out.push([`topic ${t.topic ?? t.stream}`, { specversion: '1.0', id: 'test', source: '/console', type: t.topic ?? t.stream, time: now, data: {} }])
  }
  return out.filter(([name], i) => out.findIndex(([n]) => n === name) === i)
}

interface Answer { status: number; text: string; record?: Invocation }

/** A call by hand, with what came of it: the result, its record, its lines. */
export function Try(props: { app: string; name: string; info: FunctionInfo }) {
  const events = samples(props.info)
  const [event, setEvent] = useState(JSON.stringify(events[0][1], null, 2))
  const [answer, setAnswer] = useState<Answer>()
  const path = `/v1/apps/${props.app}/functions/${props.name}/invoke`
  const http = ['http', 'container'].includes(props.info.spec.runtime)
  async function call() {
    JSON.parse(event)
    setAnswer(undefined)
    setAnswer(await invoke(path + (http ? '?http=true' : ''), event))
  }
  const onKey = (e: KeyboardEvent) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) (e.currentTarget as HTMLElement).closest('.try')?.querySelector<HTMLButtonElement>('button.primary')?.click()
  }
  return (
    <div class="cards try">
      <Card title="Event" aside={<span class="field"><label for="sample">Sample</label><select id="sample" onChange={(e) => setEvent(JSON.stringify(events[e.currentTarget.selectedIndex][1], null, 2))}>{events.map(([n]) => <option key={n}>{n}</option>)}</select></span>}>
        <label class="hidden" for="event">Event</label>
        <textarea id="event" rows={14} value={event} spellcheck={false} onInput={(e) => setEvent(e.currentTarget.value)} onKeyDown={onKey} />
        <p class="row"><Action kind="primary" run={call}>Call</Action><span class="quiet"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span></p>
      </Card>
      <Card title="Result" aside={answer?.record && <><Outcome of={answer.record.outcome} />{answer.record.cold && <Tag kind="accent">cold</Tag>}<span class="quiet">{duration(answer.record.duration_ns)}</span><a href={`/traces/${answer.record.trace.trace_id}`}>trace</a></>}>
        {answer ? <Result of={answer} /> : <p class="quiet">The call is a real one: it counts, it is billed, and it does what the function does.</p>}
      </Card>
    </div>
  )
}

async function invoke(path: string, event: string): Promise<Answer> {
  try {
    const res = await send('POST', path, { body: event })
    return { status: res.status, text: await res.text(), record: recordOf(res.headers) }
  } catch (err) {
    if (!(err instanceof Problem)) throw err
    return { status: err.status, text: JSON.stringify(err.body), record: err.headers && recordOf(err.headers) }
  }
}

function recordOf(headers: Headers): Invocation | undefined {
  const text = headers.get('X-Mayfly-Invocation')
  return text ? JSON.parse(text) as Invocation : undefined
}

function Result(props: { of: Answer }) {
  const { text, record } = props.of
  const lines = useData<{ lines: LogLine[] }>(record ? `/v1/logs?invocation=${record.id}&since=10m` : null)
  return (
    <>
      <pre tabIndex={0} aria-label="Result" class={props.of.status >= 400 ? 'bad' : ''}>{pretty(text)}</pre>
      {record?.phases && <p class="chips">{record.phases.map((p) => <span key={p.name} class="chip">{p.name} {duration(p.duration_ns)}</span>)}</p>}
      {lines.value && lines.value.lines.length > 0 && <><h3>Lines</h3><Lines list={lines.value.lines} /></>}
    </>
  )
}
