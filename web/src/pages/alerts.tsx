import { useState } from 'preact/hooks'
import { request } from '../api'
import { useData } from '../data'
import { ago } from '../format'
import { Action, Load, Nothing, Page, Table } from '../parts'

interface Alert { rule: string; app?: string; severity: string; state: string; labels: Record<string, string>; value: number; summary: string; since: string; fired?: string; resolved?: string; silenced?: boolean; key: string }
interface Rule { name: string; app?: string; expr: string; for: string; severity: string; summary: string; state?: string; failure?: string }
interface Silence { id: string; match: Record<string, string>; until: string; comment?: string; by?: string }
interface Receiver { name: string; kind: string; url?: string; smtp?: string; to?: string[]; only_named?: boolean }

const named = (labels: Record<string, string>) => Object.entries(labels).map(([k, v]) => `${k}=${v}`).join(' ')

/** What is wrong now and lately, what is watched, who is told, and what is kept silent. */
export function Alerts() {
  const alerts = useData<{ alerts: Alert[] }>('/v1/alerts', 5000)
  const silences = useData<{ silences: Silence[] }>('/v1/alerts/silences', 5000)
  const silence = (a: Alert) => request('POST', '/v1/alerts/silences', { match: a.labels, for: '2h', comment: 'from the console' })
  return (
    <Page title="Alerts">
      <Load from={alerts}>{(now) => now.alerts.length === 0 ? <Nothing title="Nothing is wrong">The rules below are looked at every few seconds.</Nothing> : (
        <Table label="Alerts" head={['State', 'Rule', 'What', 'Where', 'Since', '']}>
          {now.alerts.map((a) => (
            <tr key={a.key}>
              <td><span class={a.state === 'resolved' ? 'tag good' : 'tag bad'}>{a.state}</span> {a.silenced && <span class="tag">silenced</span>}</td>
              <td>{a.rule}</td><td>{a.summary}</td><td>{a.labels.function ? <a href={`/functions/${a.labels.app}/${a.labels.function}`}>{named(a.labels)}</a> : named(a.labels)}</td><td title={a.since}>{ago(a.since)}</td>
              <td>{a.state !== 'resolved' && !a.silenced && <Action run={() => silence(a)} done={() => { alerts.reload(); silences.reload() }}>Silence for 2 h</Action>}</td>
            </tr>
          ))}
        </Table>
      )}</Load>
      <h2>Silences</h2>
      <Silencing done={() => { alerts.reload(); silences.reload() }} />
      <Load from={silences}>{(now) => now.silences.length === 0 ? <p class="quiet">Every alert is told.</p> : (
        <Table label="Silences" head={['For', 'Until', 'By', 'Why', '']}>
          {now.silences.map((s) => <tr key={s.id}><td>{named(s.match)}</td><td>{new Date(s.until).toLocaleString()}</td><td>{s.by}</td><td>{s.comment}</td><td><Action run={() => request('DELETE', `/v1/alerts/silences/${s.id}`)} done={silences.reload}>End</Action></td></tr>)}
        </Table>
      )}</Load>
      <Receivers />
      <Rules />
    </Page>
  )
}

/** Keeps what matches from being told for a while, as mayfly alert silence does. */
function Silencing(props: { done: () => void }) {
  const [match, setMatch] = useState('')
  const [lasting, setLasting] = useState('1h')
  const [why, setWhy] = useState('')
  const create = () => {
    const pairs = match.trim().split(/\s+/).map((p) => p.split('=', 2))
    if (pairs.some((p) => p.length !== 2 || !p[0] || !p[1])) throw new Error('Write labels as LABEL=PATTERN, such as app=shop.')
    return request('POST', '/v1/alerts/silences', { match: Object.fromEntries(pairs), for: lasting, comment: why })
  }
  return (
    <form class="filters" onSubmit={(e) => e.preventDefault()}>
      <span class="field"><label for="match">Match</label><input id="match" value={match} placeholder="app=shop" onInput={(e) => setMatch(e.currentTarget.value)} /></span>
      <span class="field"><label for="lasting">For</label><select id="lasting" value={lasting} onChange={(e) => setLasting(e.currentTarget.value)}>{['1h', '4h', '24h'].map((d) => <option key={d}>{d}</option>)}</select></span>
      <span class="field"><label for="why">Why</label><input id="why" value={why} onInput={(e) => setWhy(e.currentTarget.value)} /></span>
      <Action run={async () => create()} done={props.done}>Silence</Action>
    </form>
  )
}

function Receivers() {
  const list = useData<{ receivers: Receiver[] }>('/v1/alerts/receivers', 10000)
  return (
    <>
      <h2>Receivers</h2>
      <Load from={list}>{({ receivers }) => receivers.length === 0 ? <p class="quiet">Nobody is told. Add one: <code>mayfly alert receiver set ops --kind webhook --url URL</code></p> : (
        <Table label="Receivers" head={['Name', 'Kind', 'Where', 'Told', '']}>
          {receivers.map((r) => <tr key={r.name}><td>{r.name}</td><td>{r.kind}</td><td>{r.url ?? r.to?.join(', ')}</td><td>{r.only_named ? 'what names it' : 'everything'}</td><td><Action run={() => request('POST', `/v1/alerts/receivers/${r.name}/test`)}>Send a test</Action></td></tr>)}
        </Table>
      )}</Load>
    </>
  )
}

function Rules() {
  const list = useData<{ rules: Rule[] }>('/v1/alerts/rules', 10000)
  return (
    <>
      <h2>Rules</h2>
      <Load from={list}>{({ rules }) => (
        <Table label="Rules" head={['Rule', 'App', 'State', 'For', 'Severity', 'What it says']}>
          {rules.map((r) => <tr key={(r.app ?? '') + r.name}><td title={r.expr}>{r.name}</td><td>{r.app}</td><td>{r.failure ? <span class="problem">{r.failure}</span> : <span class={r.state ? 'tag bad' : 'tag good'}>{r.state || 'well'}</span>}</td><td>{r.for}</td><td>{r.severity}</td><td>{r.summary}</td></tr>)}
        </Table>
      )}</Load>
    </>
  )
}
