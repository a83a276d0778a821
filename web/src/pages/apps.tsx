import type { Loaded } from '../data'
import { useData } from '../data'
import { ago } from '../format'
import { Load, Nothing, Page, Table } from '../parts'
import type { App } from '../types'

/** The names of the deployed apps. */
export function useApps(): Loaded<string[]> {
  const list = useData<{ apps: { name: string }[] }>('/v1/apps', 10000)
  return { ...list, value: list.value?.apps.map((a) => a.name) }
}

/** What was deployed, when and by whom. */
export function Deploys() {
  const apps = useApps()
  return (
    <Page title="Deployments">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="Nothing is deployed">Deploy an app: <code>mayfly deploy DIR</code></Nothing>
        : <>{names.map((app) => <AppDeploys key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppDeploys(props: { app: string }) {
  const app = useData<App>(`/v1/apps/${props.app}`, 5000)
  return <Load from={app}>{(a) => (
    <Table label={`Deployments of ${a.name}, the newest first`} head={['When', 'What', 'By', 'Versions', 'Message']}>
      {a.deploys?.map((d) => (
        <tr key={d.id}>
          <td title={d.at}>{ago(d.at)}</td><td>{d.action}</td><td>{d.by}</td>
          <td>{Object.entries(d.versions ?? {}).map(([fn, v], i) => <>{i > 0 && ', '}<a href={`/functions/${a.name}/${fn}`}>{fn} {v}</a></>)}</td>
          <td>{d.message}</td>
        </tr>
      ))}
    </Table>
  )}</Load>
}
