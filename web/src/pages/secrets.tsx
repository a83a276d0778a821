import { useData } from '../data'
import { Load, Nothing, Page, Table } from '../parts'
import { useApps } from './apps'

interface Secret { name: string; current: number; pending?: number }

/** The names and versions of secrets. The console never asks for a value. */
export function Secrets() {
  const apps = useApps()
  return (
    <Page title="Secrets">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="No secrets">Secrets belong to an app. Deploy one first: <code>mayfly deploy DIR</code></Nothing>
        : <>{names.map((app) => <AppSecrets key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppSecrets(props: { app: string }) {
  const list = useData<{ secrets: Secret[] }>(`/v1/apps/${props.app}/secrets`, 5000)
  return <Load from={list}>{({ secrets }) => secrets.length === 0 ? <p class="quiet">App {props.app} has no secrets. Set one: <code>mayfly secret set NAME</code></p> : (
    <Table label={`Secrets of ${props.app}`} head={['Secret', 'Current version', 'Pending version']}>
      {secrets.map((s) => <tr key={s.name}><td><code>{s.name}</code></td><td class="number">{s.current || 'none'}</td><td class="number">{s.pending || ''}</td></tr>)}
    </Table>
  )}</Load>
}
