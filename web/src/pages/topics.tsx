import { useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { ago } from '../format'
import { Action, Load, Nothing, Page, Table } from '../parts'
import { useApps } from './apps'

interface Topic { name: string; retention: string; schema_version?: number; subscriptions: { name: string; topic: string; waiting: number; failing: number }[] }
interface Hook { name: string; url: string; topic: string; waiting: number; failing_since?: string; disabled?: string }
interface Recorded { position: string; published: string; event: { id: string; source: string; type: string; data?: unknown } }

/** Every topic of every app with who takes its events, and the outgoing webhooks. */
export function Topics() {
  const apps = useApps()
  return (
    <Page title="Topics">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="No topics">Declare one in <code>mayfly.yaml</code>: <code>topics: {'{order.created: {}}'}</code></Nothing>
        : <>{names.map((app) => <AppTopics key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppTopics(props: { app: string }) {
  const base = `/v1/apps/${props.app}`
  const topics = useData<{ topics: Topic[] }>(`${base}/topics`, 3000)
  const hooks = useData<{ webhooks: Hook[] }>(`${base}/webhooks`, 3000)
  return (
    <section>
      <Load from={topics}>{({ topics }) => topics.length === 0 ? <p class="quiet">App {props.app} has no topics.</p> : (
        <Table label={`Topics of ${props.app}`} head={['Topic', 'Kept for', 'Schema', 'Subscriptions (waiting, failing)']}>
          {topics.map((t) => (
            <tr key={t.name}>
              <td><a href={`/topics/${props.app}/${t.name}`}>{t.name}</a></td><td>{t.retention}</td><td>{t.schema_version ? `version ${t.schema_version}` : ''}</td>
              <td>{t.subscriptions.map((s) => `${s.name} (${s.waiting}, ${s.failing})`).join(', ')}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
      <Load from={hooks}>{({ webhooks }) => webhooks.length === 0 ? null : (
        <Table label={`Outgoing webhooks of ${props.app}`} head={['Webhook', 'Address', 'Topic', 'Waiting', 'State', '']}>
          {webhooks.map((h) => (
            <tr key={h.name}>
              <td>{h.name}</td><td>{h.url}</td><td>{h.topic}</td><td class="number">{h.waiting}</td>
              <td>{h.disabled ?? (h.failing_since ? `failing since ${ago(h.failing_since)}` : 'delivers')}</td>
              <td>{h.disabled && <Action run={() => request('POST', `${base}/webhooks/${h.name}/enable`)} done={hooks.reload}>Enable</Action>}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
    </section>
  )
}

/** The recorded events of a topic: look, publish, put before a subscription again. */
export function TopicPage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/topics`
  const topics = useData<{ topics: Topic[] }>(base)
  const events = useData<{ events: Recorded[] }>(`${base}/${props.name}/events${query({ limit: 100 })}`, 3000)
  const [data, setData] = useState('{}')
  const [to, setTo] = useState('')
  const subscriptions = topics.value?.topics.find((t) => t.name === props.name)?.subscriptions ?? []
  const replay = (id: string) => request('POST', `${base}/${props.name}/replay`, { subscription: to || subscriptions[0]?.name, from_id: id })
  return (
    <Page title={`Topic ${props.app}/${props.name}`}>
      <label for="data">Data of an event</label>
      <textarea id="data" rows={3} spellcheck={false} value={data} onInput={(e) => setData(e.currentTarget.value)} />
      <p><Action run={() => request('POST', `${base}/${props.name}/events`, JSON.parse(data))} done={events.reload}>Publish</Action></p>
      {subscriptions.length > 0 && (
        <p class="field"><label for="to">Replay to</label>
          <select id="to" value={to} onChange={(e) => setTo(e.currentTarget.value)}>{subscriptions.map((s) => <option key={s.name}>{s.name}</option>)}</select></p>
      )}
      <Load from={events}>{({ events }) => events.length === 0 ? <Nothing title="No events">Publish one here, or: <code>mayfly topic publish {props.name} '{'{}'}'</code></Nothing> : (
        <Table label="Events, the oldest first" head={['Published', 'Id', 'Source', 'Data', '']}>
          {events.map((e) => (
            <tr key={e.position}>
              <td title={e.published}>{ago(e.published)}</td><td><code>{e.event.id.slice(0, 8)}</code></td><td>{e.event.source}</td><td><code>{JSON.stringify(e.event.data ?? null).slice(0, 80)}</code></td>
              <td>{subscriptions.length > 0 && <Action run={() => replay(e.event.id)} confirm="Deliver this event and all after it again?">Replay from here</Action>}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
    </Page>
  )
}
