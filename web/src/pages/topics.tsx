import { useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { ago, short, stamp } from '../format'
import { Action, Card, Filter, Filters, Load, Nothing, Page, Table, Tag } from '../parts'
import { param } from '../router'
import { ByApp } from './apps'

interface Topic { name: string; retention: string; schema_version?: number; subscriptions: { name: string; topic: string; waiting: number; failing: number }[] }
interface Hook { name: string; url: string; topic: string; waiting: number; failing_since?: string; disabled?: string }
interface Recorded { position: string; published: string; event: { id: string; source: string; type: string; data?: unknown } }

/** Every topic of every app with who takes its events, and the outgoing webhooks. */
export function Topics() {
  return (
    <ByApp title="Topics" icon="topic" kinds={['topic', 'webhook']} empty="No topics" code={'topics: {order.created: {}}\nfunctions:\n  mail:\n    on: [{topic: order.*}]'}
      teach={<>A topic gives each event to all who subscribe, keeps it for replay, and can check it against a schema. Declare one in <code>mayfly.yaml</code>:</>}>
      {(app) => <AppTopics app={app.name} />}
    </ByApp>
  )
}

function AppTopics(props: { app: string }) {
  const base = `/v1/apps/${props.app}`
  const topics = useData<{ topics: Topic[] }>(`${base}/topics`, 3000)
  const hooks = useData<{ webhooks: Hook[] }>(`${base}/webhooks`, 3000)
  return (
    <>
      <Load from={topics}>{({ topics }) => topics.length === 0 ? null : (
        <Table label={props.app} head={['Topic', 'Kept for', 'Schema', 'Subscriptions']}>
          {topics.map((t) => (
            <tr key={t.name}>
              <td><a href={`/topics/${props.app}/${t.name}`}>{t.name}</a></td><td>{t.retention}</td><td>{t.schema_version ? `version ${t.schema_version}` : <span class="quiet">none</span>}</td>
              <td>{t.subscriptions.length === 0 ? <span class="quiet">nobody</span> : t.subscriptions.map((s) => <span key={s.name} class="chip">{s.name}{s.waiting > 0 && ` ${s.waiting} wait`}{s.failing > 0 && <span class="bad"> {s.failing} fail</span>}</span>)}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
      <Load from={hooks}>{({ webhooks }) => webhooks.length === 0 ? null : (
        <Table label={`Outgoing webhooks of ${props.app}`} head={['Webhook', 'Address', 'Topic', ['Waiting', 'number'], 'State', '']}>
          {webhooks.map((h) => (
            <tr key={h.name}>
              <td>{h.name}</td><td>{h.url}</td><td>{h.topic}</td><td class="number">{h.waiting}</td>
              <td>{h.disabled ? <Tag kind="bad">{h.disabled}</Tag> : h.failing_since ? <Tag kind="warn">failing, {ago(h.failing_since)}</Tag> : <Tag kind="good">delivers</Tag>}</td>
              <td class="does">{h.disabled && <Action run={() => request('POST', `${base}/webhooks/${h.name}/enable`)} done={hooks.reload} said="It delivers again" label={`Enable ${h.name}`}>Enable</Action>}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
    </>
  )
}

/** The recorded events of a topic: look, publish, put before a subscription again. */
export function TopicPage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/topics`
  const topics = useData<{ topics: Topic[] }>(base, 3000)
  const since = param('since') || '1h'
  const from = new Date(Math.floor((Date.now() - { '1h': 36e5, '24h': 864e5, '7d': 6048e5 }[since]!) / 6e4) * 6e4).toISOString()
  const events = useData<{ events: Recorded[] }>(`${base}/${props.name}/events${query({ limit: 500, from })}`, 3000, true)
  const [data, setData] = useState('{}')
  const [to, setTo] = useState('')
  const [open, setOpen] = useState('')
  const subscriptions = topics.value?.topics.find((t) => t.name === props.name)?.subscriptions ?? []
  const target = to || subscriptions[0]?.name
  const replay = (id: string) => request('POST', `${base}/${props.name}/replay`, { subscription: target, from_id: id })
  return (
    <Page title={props.name} trail={[['Topics', '/topics'], [props.app, `/topics?app=${props.app}`]]} aside={<Filters><Filter name="since" label="Events of" any="the last hour" options={[['24h', 'the last day'], ['7d', 'the last week']]} /></Filters>}>
      <div class="cards">
        <Card title="Publish">
          <label class="hidden" for="data">Data of an event</label>
          <textarea id="data" rows={3} spellcheck={false} value={data} onInput={(e) => setData(e.currentTarget.value)} />
          <p class="row"><Action kind="primary" run={async () => request('POST', `${base}/${props.name}/events`, JSON.parse(data))} done={events.reload} said="Published">Publish</Action></p>
        </Card>
        <Card title="Subscriptions">
          {subscriptions.length === 0 ? <p class="quiet">Nobody takes these events. Add <code>on: [{'{'}topic: {props.name}{'}'}]</code> to a function.</p>
            : <table aria-label="Subscriptions"><thead><tr><th scope="col">Who</th><th scope="col">Pattern</th><th scope="col" class="number">Waiting</th><th scope="col" class="number">Failing</th></tr></thead><tbody>{subscriptions.map((s) => <tr key={s.name}><td>{s.name}</td><td><code>{s.topic}</code></td><td class="number">{s.waiting}</td><td class={s.failing ? 'number bad' : 'number'}>{s.failing}</td></tr>)}</tbody></table>}
          {subscriptions.length > 1 && <p class="field"><label for="to">Replay to</label><select id="to" value={to} onChange={(e) => setTo(e.currentTarget.value)}>{subscriptions.map((s) => <option key={s.name}>{s.name}</option>)}</select></p>}
        </Card>
      </div>
      <Load from={events}>{({ events }) => events.length === 0 ? <Nothing title="No events in this time" icon="topic" code={`mayfly topic publish ${props.name} '{}'`}>Publish one above, or:</Nothing> : (
        <Table label="Events, the newest first" head={['Published', 'Id', 'Source', 'Data', '']}>
          {[...events].reverse().flatMap((e) => [
            <tr key={e.position}>
              <td title={stamp(e.published)}>{ago(e.published)}</td><td><code>{e.event.id.slice(0, 8)}</code></td><td>{e.event.source}</td><td><code>{short(e.event.data ?? null)}</code></td>
              <td class="does"><button aria-expanded={open === e.position} aria-label={`Show ${e.event.id.slice(0, 8)}`} onClick={() => setOpen(open === e.position ? '' : e.position)}>Show</button>
                {target && <Action run={() => replay(e.event.id)} said={`Given to ${target} again`} confirm={`Deliver this event and all after it to ${target} again?`} label={`Replay from here: ${e.event.id.slice(0, 8)}`}>Replay from here</Action>}</td>
            </tr>,
            open === e.position && <tr key={`${e.position} all`}><td colSpan={5}><pre tabIndex={0} aria-label="Event">{JSON.stringify(e.event, null, 2)}</pre></td></tr>,
          ])}
        </Table>
      )}</Load>
    </Page>
  )
}
