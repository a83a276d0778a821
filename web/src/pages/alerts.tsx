import { useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { ago, span, stamp } from '../format'
import { Action, Card, Field, FunctionLink, Load, Nothing, Page, Table, Tabs, Tag } from '../parts'

interface Alert { rule: string; app?: string; severity: string; state: string; labels: Record<string, string>; value: number; summary: string; since: string; fired?: string; resolved?: string; silenced?: boolean; key: string }
interface Rule { name: string; app?: string; expr: string; for: string; severity: string; summary: string; notify?: string[]; every?: string; state?: string; failure?: string; evaluated?: string }
interface Silence { id: string; match: Record<string, string>; until: string; comment?: string; by?: string }
interface Receiver { name: string; kind: string; url?: string; headers?: Record<string, string>; smtp?: string; from?: string; to?: string[]; user?: string; password?: string; only_named?: boolean }
interface Episode { labels: Record<string, string>; since: string; fired: string; resolved?: string; value: number; summary: string }

const pairs = (labels: Record<string, string>) => Object.entries(labels).map(([k, v]) => `${k}=${v}`).join(' ')

/** What is wrong now and lately, what is watched, who is told, and what is kept silent. */
export function Alerts() {
  const alerts = useData<{ alerts: Alert[] }>('/v1/alerts', 5000)
  const firing = alerts.value?.alerts.filter((a) => a.state === 'firing').length ?? 0
  return (
    <Page title="Alerts" tags={alerts.value && (firing ? <Tag kind="bad">{firing} firing</Tag> : <Tag kind="good">all well</Tag>)}>
      <Tabs name="tab" tabs={[['now', 'Now'], ['rules', 'Rules'], ['silences', 'Silences'], ['receivers', 'Receivers']]}>{(tab) =>
        tab === 'rules' ? <Rules /> : tab === 'silences' ? <Silences /> : tab === 'receivers' ? <Receivers /> : <Now alerts={alerts} />}</Tabs>
    </Page>
  )
}

const severity = (s: string) => <Tag kind={s === 'critical' ? 'bad' : s === 'warning' ? 'warn' : undefined}>{s}</Tag>

function Now(props: { alerts: ReturnType<typeof useData<{ alerts: Alert[] }>> }) {
  const silence = (a: Alert) => request('POST', '/v1/alerts/silences', { match: { alertname: a.rule, ...a.labels }, for: '2h', comment: 'from the console' })
  return <Load from={props.alerts}>{({ alerts }) => alerts.length === 0 ? <Nothing title="Nothing is wrong" icon="alert">The rules are looked at every few seconds: error rates, throttling, durations, memory, queues, dead letters, budgets, the disk.</Nothing> : (
    <Table label="Alerts" head={['State', 'What', 'Where', 'Since', '']} aside={<span class="quiet">the worst first</span>}>
      {ranked(alerts).map((a) => (
        <tr key={a.key}>
          <td><Tag kind={a.state === 'resolved' ? 'good' : a.state === 'pending' || a.severity !== 'critical' ? 'warn' : 'bad'}>{a.state}</Tag> {a.silenced && <Tag>silenced</Tag>}</td>
          <td class="wrap">{a.summary}<span class="under">{a.rule}, {a.severity}</span></td>
          <td class="cell"><Where of={a} /></td>
          <td title={stamp(a.since)}>{ago(a.resolved ?? a.fired ?? a.since)}</td>
          <td class="does">{a.state !== 'resolved' && !a.silenced && <Action run={() => silence(a)} done={props.alerts.reload} said="Silent for two hours" label={`Silence for 2 h: ${a.rule}`}>Silence for 2 h</Action>}</td>
        </tr>
      ))}
    </Table>
  )}</Load>
}

const states = ['firing', 'pending', 'resolved']
const severities = ['critical', 'warning', 'info']

/** Alerts, what has to be looked at first before the others. */
export function ranked(alerts: Alert[]): Alert[] {
  const rank = (a: Alert) => Number(!!a.silenced) * 100 + states.indexOf(a.state) * 10 + severities.indexOf(a.severity)
  return [...alerts].sort((a, b) => rank(a) - rank(b))
}

/** Where to look at what an alert is about. */
function Where(props: { of: Alert }) {
  const { app, function: fn, queue } = props.of.labels
  if (fn) return <FunctionLink app={app} name={fn} />
  if (queue) return <a href={`/queues/${app}/${queue}`}>{app}, queue {queue}</a>
  if (props.of.rule === 'dead-letters') return <a href={`/dead?app=${app}`}>{app}, dead letters</a>
  const { alertname: _, severity: __, ...others } = props.of.labels
  return <>{others.app && Object.keys(others).length === 1 ? others.app : pairs(others)}</>
}

/** What fires now, for the page that everybody begins at: nothing, where nothing does. */
export function Firing() {
  const list = useData<{ alerts: Alert[] }>('/v1/alerts', 10_000)
  const firing = ranked((list.value?.alerts ?? []).filter((a) => a.state === 'firing' && !a.silenced))
  if (firing.length === 0) return null
  return (
    <section class="firing" aria-label="What needs a look">
      <ul>{firing.slice(0, worst).map((a) => <li key={a.key}><Tag kind={a.severity === 'critical' ? 'bad' : 'warn'}>{a.rule}</Tag><span class="what">{a.summary}</span><span class="quiet">{ago(a.fired ?? a.since)}</span><Where of={a} /></li>)}</ul>
      <a href="/alerts">{firing.length > worst ? `${firing.length - worst} more, and silences` : 'Alerts and silences'}</a>
    </section>
  )
}

const worst = 3

/** What a rule's alerts say, with the places that each alert fills as words. */
export function told(summary: string, app?: string) {
  const words: Record<string, string> = { value: 'N', 'value%': 'N %', values: 'N s', app: app || 'app' }
  return summary.split(/(\{\{[^}]+\}\})/).map((part, i) => {
    const name = /^\{\{\s*(.+?)\s*\}\}$/.exec(part)?.[1]
    return name ? <var key={i}>{words[name] ?? name}</var> : part
  })
}

function Rules() {
  const list = useData<{ rules: Rule[] }>('/v1/alerts/rules', 10_000)
  const [open, setOpen] = useState('')
  return (
    <Load from={list}>{({ rules }) => (
      <Table label="Rules" head={['Rule', 'For', 'State', 'Severity', 'Says', 'Tells', '']} aside={<span class="quiet">those without an app watch every function</span>}>
        {rules.flatMap((r) => {
          const key = `${r.app ?? ''}/${r.name}`
          return [
            <tr key={key}>
              <td>{r.name}{r.app && <span class="quiet"> of {r.app}</span>}</td><td>{r.for === '0s' ? 'at once' : r.for}</td>
              <td>{r.failure ? <span class="problem" title={r.failure}>cannot be judged</span> : <Tag kind={r.state === 'firing' ? 'bad' : r.state === 'pending' ? 'warn' : 'good'}>{r.state && r.state !== 'inactive' ? r.state : 'well'}</Tag>}</td>
              <td>{severity(r.severity)}</td><td class="wrap says">{told(r.summary, r.app)}</td><td>{r.notify?.join(', ') || <span class="quiet">the default</span>}</td>
              <td class="does"><button aria-expanded={open === key} aria-label={`Test ${r.name}`} onClick={() => setOpen(open === key ? '' : key)}>Test</button></td>
            </tr>,
            open === key && <tr key={`${key} test`}><td colSpan={7}><Replay of={r} /></td></tr>,
          ]
        })}
      </Table>
    )}</Load>
  )
}

/** When a rule would have fired, by the recorded metrics: mayfly alert test. */
function Replay(props: { of: Rule }) {
  const [since, setSince] = useState('24h')
  const [lasting, setLasting] = useState('')
  const [found, setFound] = useState<Episode[]>()
  const r = props.of
  const run = async () => setFound((await request<{ episodes: Episode[] }>('POST', '/v1/alerts/replay', { rule: r.name, app: r.app, since, ...(lasting && { for: lasting }) })).episodes)
  return (
    <div class="replay">
      <pre tabIndex={0} aria-label="Expression">{r.expr}</pre>
      <p class="row">
        <Field id="since" label="Since" value={since} set={setSince} options={['1h', '6h', '24h', '7d']} />
        <Field id="for" label="For" value={lasting} set={setLasting} placeholder={r.for} />
        <Action kind="primary" run={run}>Replay</Action>
        <a class="button" href={`/explore${query({ expr: r.expr })}`}>Look at it</a>
      </p>
      {found && (found.length === 0 ? <p class="quiet">It would not have fired.</p> : (
        <table aria-label="Episodes"><thead><tr>{['Fired', 'Ended', 'Lasted', 'What'].map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead><tbody>
          {found.map((e) => <tr key={e.fired + e.summary}><td>{stamp(e.fired)}</td><td>{e.resolved ? stamp(e.resolved) : 'still fires'}</td><td>{span((new Date(e.resolved ?? Date.now()).getTime() - new Date(e.fired).getTime()) / 1000)}</td><td class="wrap">{e.summary}</td></tr>)}
        </tbody></table>
      ))}
    </div>
  )
}

function Silences() {
  const list = useData<{ silences: Silence[] }>('/v1/alerts/silences', 5000)
  const [edited, setEdited] = useState<Silence>()
  return (
    <>
      <Silencing key={edited?.id ?? ''} of={edited} done={() => { setEdited(undefined); list.reload() }} />
      <Load from={list}>{({ silences }) => silences.length === 0 ? <Nothing title="Every alert is told" icon="alert">A silence keeps what matches from being told for a while, as during a migration. Labels may hold a <code>*</code>.</Nothing> : (
        <Table label="Silences" head={['For', 'Until', 'By', 'Why', '']}>
          {silences.map((s) => (
            <tr key={s.id}><td><code>{pairs(s.match)}</code></td><td title={stamp(s.until)}>{ago(s.until)}</td><td>{s.by}</td><td class="wrap">{s.comment}</td>
              <td class="does"><button onClick={() => setEdited(s)} aria-label={`Edit ${pairs(s.match)}`}>Edit</button>
                <Action run={() => request('DELETE', `/v1/alerts/silences/${s.id}`)} done={list.reload} said="Ended" label={`End ${pairs(s.match)}`}>End</Action></td></tr>
          ))}
        </Table>
      )}</Load>
    </>
  )
}

/** Makes a silence, or another in the place of one: what it matched is on record until then. */
function Silencing(props: { of?: Silence; done: () => void }) {
  const [match, setMatch] = useState(props.of ? pairs(props.of.match) : '')
  const [lasting, setLasting] = useState('1h')
  const [why, setWhy] = useState(props.of?.comment ?? '')
  const create = async () => {
    const labels = match.trim().split(/\s+/).map((p) => p.split('=', 2))
    if (labels.some((p) => p.length !== 2 || !p[0] || !p[1])) throw new Error('Write labels as LABEL=PATTERN, such as app=shop alertname=queue-*.')
    await request('POST', '/v1/alerts/silences', { match: Object.fromEntries(labels), for: lasting, comment: why })
    if (props.of) await request('DELETE', `/v1/alerts/silences/${props.of.id}`)
    setMatch('')
    setWhy('')
  }
  return (
    <Card title={props.of ? 'Edit the silence' : 'Make a silence'}>
      <form class="filters" onSubmit={(e) => e.preventDefault()}>
        <Field id="match" label="Match" value={match} set={setMatch} placeholder="app=shop alertname=queue-*" wide />
        <Field id="lasting" label={props.of ? 'For, from now on' : 'For'} value={lasting} set={setLasting} options={['1h', '2h', '4h', '24h', '7d']} />
        <Field id="why" label="Why" value={why} set={setWhy} wide />
        <Action kind="primary" run={create} done={props.done} said="Silent">{props.of ? 'Save' : 'Silence'}</Action>
        {props.of && <button onClick={props.done}>Leave it</button>}
      </form>
    </Card>
  )
}

function Receivers() {
  const list = useData<{ receivers: Receiver[] }>('/v1/alerts/receivers', 10_000)
  const [edited, setEdited] = useState<Receiver>()
  const path = (name: string) => `/v1/alerts/receivers/${encodeURIComponent(name)}`
  return (
    <>
      <Receiving key={edited?.name ?? ''} of={edited} done={() => { setEdited(undefined); list.reload() }} />
      <Load from={list}>{({ receivers }) => receivers.length === 0 ? <Nothing title="Nobody is told" icon="alert">Alerts are shown here, and nowhere else. Name a webhook, a Slack channel or a mail address above.</Nothing> : (
        <Table label="Receivers" head={['Name', 'Kind', 'Where', 'Told', '']}>
          {receivers.map((r) => (
            <tr key={r.name}><td>{r.name}</td><td>{r.kind}</td><td>{r.url ?? r.to?.join(', ')}</td><td>{r.only_named ? 'what names it' : 'everything that names nobody'}</td>
              <td class="does"><Action run={() => request('POST', `${path(r.name)}/test`)} said={`${r.name} took a test`} label={`Send a test to ${r.name}`}>Send a test</Action>
                <button onClick={() => setEdited(r)} aria-label={`Edit ${r.name}`}>Edit</button>
                <Action kind="danger" run={() => request('DELETE', path(r.name))} done={list.reload} said="Removed" confirm={`Tell ${r.name} nothing any more?`} label={`Remove ${r.name}`}>Remove</Action></td></tr>
          ))}
        </Table>
      )}</Load>
    </>
  )
}

/** Adds a receiver or changes one; secrets that are not shown stay as they are. */
function Receiving(props: { of?: Receiver; done: () => void }) {
  const [r, setR] = useState<Receiver>(props.of ?? { name: '', kind: 'webhook' })
  const put = async () => {
    const { name, ...body } = r
    await request('PUT', `/v1/alerts/receivers/${encodeURIComponent(name)}`, body)
    setR({ name: '', kind: r.kind })
  }
  const text = (id: keyof Receiver, label: string, placeholder = '') => <Field id={id} label={label} secret={id === 'password'} wide={id === 'url'} value={String(r[id] ?? '')} set={(v) => setR({ ...r, [id]: v })} placeholder={placeholder} />
  return (
    <Card title={props.of ? `Change ${props.of.name}` : 'Tell somebody'}>
      <form class="filters" onSubmit={(e) => e.preventDefault()}>
        {props.of ? null : text('name', 'Name', 'ops')}
        <Field id="kind" label="Kind" value={r.kind} set={(kind) => setR({ name: r.name, kind })} options={['webhook', 'slack', 'email']} />
        {r.kind === 'email' ? <>
          {text('smtp', 'Server', 'mail.example.com:587')}{text('from', 'From', 'mayfly@example.com')}
          <Field id="to" label="To" value={r.to?.join(', ') ?? ''} set={(v) => setR({ ...r, to: v.split(/[,\s]+/) })} placeholder="ops@example.com" />
          {text('user', 'User')}{text('password', 'Password')}
        </> : text('url', 'URL', r.kind === 'slack' ? 'https://hooks.slack.com/services/…' : 'https://example.com/hook')}
        <label class="check"><input type="checkbox" checked={!!r.only_named} onChange={(e) => setR({ ...r, only_named: e.currentTarget.checked })} /> only what names it</label>
        <Action kind="primary" run={put} done={props.done} said="It is told from now on">{props.of ? 'Save' : 'Add'}</Action>
        {props.of && <button onClick={props.done}>Leave it</button>}
      </form>
    </Card>
  )
}
