import { useState } from 'preact/hooks'
import { request } from '../api'
import { Chart, useRanges } from '../chart'
import { useData } from '../data'
import { count, short } from '../format'
import { Action, Card, Field, Load, Nothing, Page, Stat, Table, Tag } from '../parts'
import { ByApp } from './apps'

interface Queue { app: string; name: string; messages: number; ready: number; running: number; delayed: number; blocked: number; failing: number; dead: number; paused: boolean; oldest_age?: string; consumers: { function: string; calls: number; throttled?: boolean }[] }
interface Message { id: string; state: string; why: string; age: string; attempts: number; key?: string; body: unknown; trace_id?: string }

/** Every queue of every app, with what waits in it. */
export function Queues() {
  return (
    <ByApp title="Queues" icon="queue" kinds={['queue']} empty="No queues" code={'queues: {jobs: {}}\nfunctions:\n  work:\n    on: [{queue: jobs, batch: 10}]'}
      teach={<>A queue keeps messages until a function has taken them, tries again what failed, and says of each one why it waits. Declare one in <code>mayfly.yaml</code>:</>}>
      {(app) => <AppQueues app={app.name} />}
    </ByApp>
  )
}

const pausing = (base: string, q: Queue) => request('POST', `${base}/${q.name}/${q.paused ? 'resume' : 'pause'}`)

function AppQueues(props: { app: string }) {
  const base = `/v1/apps/${props.app}/queues`
  const list = useData<{ queues: Queue[] }>(base, 2000)
  return <Load from={list}>{({ queues }) => (
    <Table label={props.app} head={['Queue', ['Messages', 'number', '6.5rem'], ['Ready', 'number', '5.5rem'], ['Running', 'number', '5.5rem'], ['Delayed', 'number', '5.5rem'], ['Behind', 'number', '5.5rem'], ['Failing', 'number', '5.5rem'], ['Dead', 'number', '5rem'], ['Oldest', 'number', '6rem'], 'Consumers', ['', '', '6.5rem']]}>
      {queues.map((q) => (
        <tr key={q.name}>
          <td class="cell" title={q.name}><a href={`/queues/${props.app}/${q.name}`}>{q.name}</a> {q.paused && <Tag kind="warn">paused</Tag>}</td>
          {[q.messages, q.ready, q.running, q.delayed, q.blocked].map((n, i) => <td key={i} class="number">{count(n)}</td>)}
          <td class={q.failing ? 'number bad' : 'number'}>{q.failing}</td>
          <td class={q.dead ? 'number bad' : 'number'}>{q.dead ? <a class="bad" href={`/dead?app=${props.app}&source=queue/${q.name}`}>{q.dead}</a> : 0}</td>
          <td class="number">{q.oldest_age}</td>
          <td class="cell">{q.consumers.map((c, i) => <span key={c.function}>{i > 0 && ', '}<a href={`/functions/${props.app}/${c.function}`}>{c.function}</a>{c.throttled && ' (throttled)'}</span>)}{q.consumers.length === 0 && <span class="quiet">none</span>}</td>
          <td class="does"><Action run={() => pausing(base, q)} done={list.reload} said={q.paused ? `${q.name} delivers again` : `${q.name} delivers nothing; sends are still accepted`} label={`${q.paused ? 'Resume' : 'Pause'} ${q.name}`}>{q.paused ? 'Resume' : 'Pause'}</Action></td>
        </tr>
      ))}
    </Table>
  )}</Load>
}

/** What waits in one queue, and why. */
export function QueuePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/queues`
  const path = `${base}/${props.name}`
  const info = useData<Queue>(path, 2000)
  const list = useData<{ messages: Message[] }>(`${path}/messages?limit=200`, 2000)
  const reload = () => { info.reload(); list.reload() }
  const q = info.value
  const { series } = useRanges([['waiting', `mayfly_queue_depth{app="${props.app}",queue="${props.name}"}`]], 60)
  return (
    <Page title={props.name} trail={[['Queues', '/queues'], [props.app, `/queues?app=${props.app}`]]} tags={q?.paused && <Tag kind="warn">paused</Tag>}
      aside={q && <>
        <Action run={() => pausing(base, q)} done={reload} said={q.paused ? 'It delivers again' : 'It delivers nothing; sends are still accepted'}>{q.paused ? 'Resume' : 'Pause'}</Action>
        <Action kind="danger" run={() => request('DELETE', `${path}/messages`)} done={reload} said="Purged" confirm={`Drop all messages of ${props.name} that nobody has received? They are gone for good.`}>Purge</Action>
      </>}>
      {q && (
        <dl class="stats">
          <Stat name="Messages">{count(q.messages)}</Stat><Stat name="Ready">{count(q.ready)}</Stat><Stat name="Running">{count(q.running)}</Stat><Stat name="Delayed">{count(q.delayed)}</Stat>
          <Stat name="Failing" bad={q.failing > 0}>{count(q.failing)}</Stat><Stat name="Dead" bad={q.dead > 0}>{q.dead ? <a class="bad" href={`/dead?app=${props.app}&source=queue/${props.name}`}>{q.dead}</a> : 0}</Stat><Stat name="Oldest">{q.oldest_age || '–'}</Stat>
        </dl>
      )}
      <div class="cards">
        {series && series.length > 0 && <Card title="Waiting, the last hour"><Chart series={series} minutes={60} fit height={150} label="messages that wait" /></Card>}
        <Send path={path} done={reload} />
      </div>
      <Load from={list}>{({ messages }) => messages.length === 0
        ? <Nothing title="Nothing waits" icon="queue">Every message was taken and finished.</Nothing>
        : <Table label="Messages, the first to be delivered first" head={['Message', 'State', 'Why it waits', ['Age', 'number'], ['Attempts', 'number'], 'Key', 'Body', '']}>
            {messages.map((m) => (
              <tr key={m.id}>
                <td>{m.trace_id ? <a href={`/traces/${m.trace_id}`}><code>{m.id.slice(-8)}</code></a> : <code>{m.id.slice(-8)}</code>}</td><td><Tag>{m.state}</Tag></td><td class="wrap">{m.why}</td>
                <td class="number">{m.age}</td><td class="number">{m.attempts}</td><td>{m.key}</td><td><code title={JSON.stringify(m.body)}>{short(m.body, 60)}</code></td>
                <td class="does"><Action run={() => request('DELETE', `${path}/messages/${m.id}`)} done={reload} confirm="Drop this message?" label={`Drop ${m.id.slice(-8)}`}>Drop</Action></td>
              </tr>
            ))}
          </Table>}</Load>
    </Page>
  )
}

function Send(props: { path: string; done: () => void }) {
  const [body, setBody] = useState('{}')
  const [delay, setDelay] = useState('')
  const send = async () => request('POST', `${props.path}/messages`, { body: JSON.parse(body), ...(delay && { delay }) })
  return (
    <Card title="Send a message">
      <label class="hidden" for="body">Body</label>
      <textarea id="body" rows={3} spellcheck={false} value={body} onInput={(e) => setBody(e.currentTarget.value)} />
      <p class="row"><Action kind="primary" run={send} done={props.done} said="Sent">Send</Action><Field id="delay" label="After" value={delay} set={setDelay} placeholder="30s" /></p>
    </Card>
  )
}
