import { request } from '../api'
import { query, useData } from '../data'
import { ago, plural, stamp } from '../format'
import { Action, Card, Filter, Filters, Load, Nothing, Page, Stat, Table, Tag } from '../parts'
import { param } from '../router'
import type { AppSummary, Deploy, FieldChange, Plan } from '../types'
import { ByApp } from './apps'

/** What was deployed, when and by whom. */
export function Deploys() {
  return (
    <ByApp title="Deployments" icon="deploy" kinds={null} empty="Nothing is deployed" code="mayfly deploy DIR"
      teach={<>A deploy makes all of an app live at once, or nothing of it. Each one is kept here with what it changed.</>}>
      {(app) => <AppDeploys app={app} />}
    </ByApp>
  )
}

const kinds: Record<string, 'accent' | 'warn' | undefined> = { deploy: 'accent', rollback: 'warn', restore: 'warn' }

const restore = (app: string, id: string) => request('POST', `/v1/apps/${app}/deploys/${id}/restore`)

function AppDeploys(props: { app: AppSummary }) {
  const { name } = props.app
  const list = useData<{ deploys: Deploy[] }>(`/v1/apps/${name}/deploys`, 5000)
  return <Load from={list}>{({ deploys }) => (
    <Table label={name} aside={<span class="quiet">{plural(props.app.functions, 'function')}</span>} head={[['Deploy', '', '10rem'], ['When', '', '7.5rem'], ['What', '', '6.5rem'], ['By', '', '6rem'], 'Versions', 'Message', ['', '', '6rem']]}>
      {deploys.map((d, i) => (
        <tr key={d.id}>
          <td><a href={`/deploys/${name}/${d.id}`}><code>{d.id}</code></a> {i === 0 && <Tag kind="good">live</Tag>}</td>
          <td title={stamp(d.at)}>{ago(d.at)}</td><td><Tag kind={kinds[d.action]}>{d.action}</Tag></td><td>{d.by}</td>
          <td class="cell" title={Object.entries(d.versions ?? {}).map(([fn, v]) => `${fn} ${v}`).join(', ')}><Versions app={name} of={d.versions ?? {}} /></td>
          <td class="wrap">{d.message}</td>
          <td class="does">{i > 0 && <Action run={() => restore(name, d.id)} done={list.reload} said={`${name} is what ${d.id} had left`} confirm={`Make ${name} what deploy ${d.id} had left: its functions, triggers and resources? Data stays as it is.`} label={`Restore ${d.id}`}>Restore</Action>}</td>
        </tr>
      ))}
    </Table>
  )}</Load>
}

function Versions(props: { app: string; of: Record<string, number> }) {
  const all = Object.entries(props.of)
  return <>{all.slice(0, 6).map(([fn, v], i) => <span key={fn}>{i > 0 && ', '}<a href={`/functions/${props.app}/${fn}`}>{fn} {v}</a></span>)}{all.length > 6 && ` and ${all.length - 6} more`}</>
}

/** One deploy: what it changed, or what differs from another. */
export function DeployPage(props: { app: string; id: string }) {
  const list = useData<{ deploys: Deploy[] }>(`/v1/apps/${props.app}/deploys`, 10_000)
  const since = param('since')
  const plan = useData<Plan>(`/v1/apps/${props.app}/deploys/${props.id}/changes${query({ since })}`)
  const deploys = list.value?.deploys ?? []
  const d = deploys.find((x) => x.id === props.id)
  const others: [string, string][] = deploys.filter((x) => x.id !== props.id).map((x) => [x.id, `${x.id}, ${x.action} ${ago(x.at)}`])
  const live = deploys[0]?.id === props.id
  return (
    <Page title={`Deploy ${props.id}`} trail={[['Deployments', '/deploys'], [props.app, `/deploys?app=${props.app}`]]} tags={live && <Tag kind="good">live</Tag>}
      aside={<Filters><Filter name="since" label="Compared with" any="the one before" options={others} />
        {d && !live && <Action kind="primary" run={() => restore(props.app, props.id)} done={list.reload} said="Restored" confirm={`Make ${props.app} what this deploy had left? Data stays as it is.`}>Restore</Action>}</Filters>}>
      {d && <dl class="stats"><Stat name="What">{d.action}</Stat><Stat name="When" note={stamp(d.at)}>{ago(d.at)}</Stat><Stat name="By">{d.by}</Stat>{d.message && <Stat name="Message">{d.message}</Stat>}</dl>}
      <Load from={plan}>{(p) => <Changes of={p} app={props.app} />}</Load>
    </Page>
  )
}

const drawn = 200 // functions of one comparison

const signs: Record<string, string> = { add: '+', remove: '−', change: '~' }

/** What differs, as a list of what was added, removed and changed. */
export function Changes(props: { of: Plan; app: string }) {
  const { functions = [], resources = [], settings = [] } = props.of
  if (functions.length + resources.length + settings.length === 0) return <Nothing title="The same" icon="deploy">Nothing differs between the two: manifest, code, triggers and resources are equal.</Nothing>
  return (
    <div class="diff">
      {functions.slice(0, drawn).map((f) => (
        <Card key={f.function} class={f.action} title={`${signs[f.action]} function ${f.function}`} aside={<span class="quiet">{f.action === 'remove' ? `had version ${f.from}` : f.from && f.from !== f.to ? `version ${f.from} → ${f.to}` : f.to ? `version ${f.to}` : ''}</span>}>
          {(f.fields?.length || f.triggers?.length) ? <ul>
            <Fields of={f.fields} />
            {f.triggers?.map((t) => <li key={t.kind + t.on + t.action} class={t.action}><b>{signs[t.action]} {t.kind}</b> {t.on}<ul><Fields of={t.fields} /></ul></li>)}
          </ul> : null}
        </Card>
      ))}
      {functions.length > drawn && <p class="quiet">and {functions.length - drawn} more functions; <code>GET /v1/apps/{props.app}/deploys/ID/changes</code> has all</p>}
      {resources.map((r) => (
        <Card key={r.kind + r.name} class={r.action} title={`${signs[r.action]} ${r.kind} ${r.name}`} aside={r.action === 'remove' && <span class="quiet">its data stays</span>}>
          {r.fields?.length ? <ul><Fields of={r.fields} /></ul> : null}
        </Card>
      ))}
      {settings.length > 0 && <Card title="~ settings of the app"><ul><Fields of={settings} /></ul></Card>}
    </div>
  )
}

export function Fields(props: { of?: FieldChange[] }) {
  return <>{props.of?.map((c) => (
    <li key={c.field}><b>{c.field}</b>{' '}{c.old ? <del>{c.old}</del> : null}{c.old && c.new ? ' → ' : ' '}{c.new ? <ins>{c.new}</ins> : null}</li>
  ))}</>
}
