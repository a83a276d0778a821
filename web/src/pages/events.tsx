import { request } from '../api'
import { query, useData } from '../data'
import { ago } from '../format'
import { Action, Load, Nothing, Page, Table } from '../parts'
import { useApps } from './apps'

interface Queue { app: string; name: string; messages: number; ready: number; running: number; delayed: number; blocked: number; failing: number; dead: number; paused: boolean; oldest_age?: string; consumers: { function: string; calls: number; throttled?: boolean }[] }
interface Message { id: string; state: string; why: string; age: string; attempts: number; key?: string; body: unknown; trace_id?: string }
interface Letter { id: string; source: string; function?: string; reason: string; error?: string; attempts: number; died: string; trace?: { trace_id?: string }; body: unknown }
interface Schedule { function: string; name: string; schedule: string; timezone?: string; missed: string; last?: string; next: string[] }

/** Every queue of every app, with what waits in it. */
export function Queues() {
  const apps = useApps()
  return (
    <Page title="Queues">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="No queues">Declare one in <code>mayfly.yaml</code>: <code>queues: {'{jobs: {}}'}</code></Nothing>
        : names.map((app) => <AppQueues key={app} app={app} />)}</Load>
    </Page>
  )
}

function AppQueues(props: { app: string }) {
  const base = `/v1/apps/${props.app}/queues`
  const list = useData<{ queues: Queue[] }>(base, 2000)
  return <Load from={list}>{({ queues }) => queues.length === 0 ? <p class="quiet">App {props.app} has no queues.</p> : (
    <Table label={`Queues of ${props.app}`} head={['Queue', 'Messages', 'Ready', 'Running', 'Delayed', 'Behind', 'Failing', 'Dead', 'Oldest', 'Consumers', '']}>
      {queues.map((q) => (
        <tr key={q.name}>
          <td><a href={`/queues/${props.app}/${q.name}`}>{q.name}</a>{q.paused && <span class="tag bad">paused</span>}</td>
          {[q.messages, q.ready, q.running, q.delayed, q.blocked, q.failing].map((n, i) => <td key={i} class="number">{n}</td>)}
          <td class={q.dead ? 'number bad' : 'number'}><a href={`/dead/${props.app}?source=queue/${q.name}`}>{q.dead}</a></td>
          <td>{q.oldest_age}</td>
          <td>{q.consumers.map((c) => `${c.function}${c.throttled ? ' (throttled)' : ''}`).join(', ')}</td>
          <td><Action run={() => request('POST', `${base}/${q.name}/${q.paused ? 'resume' : 'pause'}`)} done={list.reload}>{q.paused ? 'Resume' : 'Pause'}</Action></td>
        </tr>
      ))}
    </Table>
  )}</Load>
}

/** What waits in one queue, and why. */
export function QueuePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/queues/${props.name}`
  const list = useData<{ messages: Message[] }>(`${base}/messages?limit=100`, 2000)
  return (
    <Page title={`Queue ${props.app}/${props.name}`} aside={<Action run={() => request('DELETE', `${base}/messages`)} done={list.reload} confirm="Drop all messages that nobody has received?">Purge</Action>}>
      <Load from={list}>{({ messages }) => messages.length === 0
        ? <Nothing title="Nothing waits">Send a message: <code>mayfly queue send {props.name} '{'{}'}'</code></Nothing>
        : <Table label="Messages" head={['Message', 'State', 'Why it waits', 'Age', 'Attempts', 'Key', 'Body']}>
            {messages.map((m) => (
              <tr key={m.id}>
                <td>{m.trace_id ? <a href={`/traces/${m.trace_id}`}>{m.id.slice(-8)}</a> : m.id.slice(-8)}</td><td><span class="tag">{m.state}</span></td><td>{m.why}</td>
                <td>{m.age}</td><td class="number">{m.attempts}</td><td>{m.key}</td><td><code>{JSON.stringify(m.body).slice(0, 80)}</code></td>
              </tr>
            ))}
          </Table>}</Load>
    </Page>
  )
}

/** What was given up, why, and back to where it came from. */
export function Dead(props: { app?: string }) {
  const apps = useApps()
  return (
    <Page title="Dead letters">
      <Load from={apps}>{(names) => <>{names.filter((n) => !props.app || n === props.app).map((app) => <AppDead key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppDead(props: { app: string }) {
  const base = `/v1/apps/${props.app}/dead-letters`
  const source = new URL(window.location.href).searchParams.get('source') ?? ''
  const list = useData<{ dead_letters: Letter[] }>(`${base}${query({ source, limit: 200 })}`, 3000)
  return <Load from={list}>{({ dead_letters: letters }) => letters.length === 0 ? <p class="quiet">App {props.app} has none.</p> : (
    <>
      <Action run={() => request('POST', `${base}/redrive${query({ source })}`, {})} done={list.reload} confirm={`Try all ${letters.length} again?`}>Redrive all</Action>
      <Table label={`Dead letters of ${props.app}`} head={['Died', 'From', 'Reason', 'Error', 'Attempts', 'Body', '']}>
        {letters.map((l) => (
          <tr key={l.id}>
            <td>{l.trace?.trace_id ? <a href={`/traces/${l.trace.trace_id}`}>{ago(l.died)}</a> : ago(l.died)}</td><td>{l.source}</td><td>{l.reason}</td><td>{l.error}</td>
            <td class="number">{l.attempts}</td><td><code>{JSON.stringify(l.body).slice(0, 80)}</code></td>
            <td><Action run={() => request('POST', `${base}/redrive`, { id: l.id })} done={list.reload}>Redrive</Action></td>
          </tr>
        ))}
      </Table>
    </>
  )}</Load>
}

export function Schedules() {
  const apps = useApps()
  return <Page title="Schedules"><Load from={apps}>{(names) => <>{names.map((app) => <AppSchedules key={app} app={app} />)}</>}</Load></Page>
}

function AppSchedules(props: { app: string }) {
  const base = `/v1/apps/${props.app}/schedules`
  const list = useData<{ schedules: Schedule[] }>(base, 5000)
  return <Load from={list}>{({ schedules }) => schedules.length === 0 ? <p class="quiet">App {props.app} has no schedules.</p> : (
    <Table label={`Schedules of ${props.app}`} head={['Function', 'Schedule', 'Zone', 'Missed', 'Next', '']}>
      {schedules.map((s) => (
        <tr key={s.function + s.name}>
          <td>{s.function}</td><td><code>{s.schedule}</code></td><td>{s.timezone ?? 'UTC'}</td><td>{s.missed}</td>
          <td>{s.next.slice(0, 3).map((t) => new Date(t).toLocaleString()).join(', ')}</td>
          <td><Action run={() => request('POST', `${base}/run`, { function: s.function, name: s.name })}>Run now</Action></td>
        </tr>
      ))}
    </Table>
  )}</Load>
}
