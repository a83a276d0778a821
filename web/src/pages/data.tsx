import { request } from '../api'
import { query, useData } from '../data'
import { Action, Filter, Load, Nothing, Page, Table } from '../parts'
import { param } from '../router'
import { useApps } from './apps'

interface Store { name: string; keys: number; bytes: number }
interface Key { key: string; size?: number; revision?: number; expires?: string }
interface Bucket { name: string; bytes?: number; objects?: number; public?: boolean }
interface Object { key: string; size: number; modified?: string }

/** Key-value stores and buckets of every app. */
export function Data() {
  const apps = useApps()
  return (
    <Page title="Data">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="No data services">Declare <code>kv:</code> or <code>buckets:</code> in <code>mayfly.yaml</code>.</Nothing>
        : <>{names.map((app) => <AppData key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppData(props: { app: string }) {
  const stores = useData<{ stores: Store[] | null }>(`/v1/apps/${props.app}/kv`, 5000)
  const buckets = useData<{ buckets: Bucket[] | null }>(`/v1/apps/${props.app}/buckets`, 5000)
  return (
    <section>
      <h2>{props.app}</h2>
      <Load from={stores}>{({ stores }) => !stores?.length ? <p class="quiet">No key-value stores.</p> : (
        <Table label={`Stores of ${props.app}`} head={['Store', 'Keys', 'Bytes']}>
          {stores.map((s) => <tr key={s.name}><td><a href={`/data/${props.app}/kv/${s.name}`}>{s.name}</a></td><td class="number">{s.keys}</td><td class="number">{s.bytes}</td></tr>)}
        </Table>
      )}</Load>
      <Load from={buckets}>{({ buckets }) => !buckets?.length ? <p class="quiet">No buckets.</p> : (
        <Table label={`Buckets of ${props.app}`} head={['Bucket', 'Objects', 'Bytes', '']}>
          {buckets.map((b) => <tr key={b.name}><td><a href={`/data/${props.app}/bucket/${b.name}`}>{b.name}</a></td><td class="number">{b.objects}</td><td class="number">{b.bytes}</td><td>{b.public ? 'public' : ''}</td></tr>)}
        </Table>
      )}</Load>
    </section>
  )
}

export function StorePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/kv/${props.name}/keys`
  const list = useData<{ keys: Key[] | null; next?: string }>(`${base}${query({ prefix: param('prefix'), after: param('after'), limit: 100 })}`, 5000)
  return (
    <Page title={`Store ${props.app}/${props.name}`} aside={<Filter name="prefix" label="Prefix" />}>
      <Load from={list}>{({ keys, next }) => !keys?.length ? <Nothing title="No keys">Put one: <code>mayfly kv put {props.name} KEY VALUE</code></Nothing> : (
        <>
          <Table label="Keys" head={['Key', 'Size', 'Revision', 'Expires', '']}>
            {keys.map((k) => (
              <tr key={k.key}>
                <td><code>{k.key}</code></td><td class="number">{k.size}</td><td class="number">{k.revision}</td><td>{k.expires}</td>
                <td><Action run={() => request('DELETE', `${base}/${k.key.split('/').map(encodeURIComponent).join('/')}`)} done={list.reload} confirm={`Delete ${k.key}?`}>Delete</Action></td>
              </tr>
            ))}
          </Table>
          {next && <a href={query({ prefix: param('prefix'), after: next })}>Next page</a>}
        </>
      )}</Load>
    </Page>
  )
}

export function BucketPage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/buckets/${props.name}/objects`
  const list = useData<{ objects: Object[] | null; next?: string }>(`${base}${query({ prefix: param('prefix'), after: param('after'), limit: 100 })}`, 5000)
  return (
    <Page title={`Bucket ${props.app}/${props.name}`} aside={<Filter name="prefix" label="Prefix" />}>
      <Load from={list}>{({ objects, next }) => !objects?.length ? <Nothing title="No objects">Put one with any S3 client, or <code>mayfly bucket cp FILE {props.name}/KEY</code></Nothing> : (
        <>
          <Table label="Objects" head={['Key', 'Size', 'Changed', '']}>
            {objects.map((o) => (
              <tr key={o.key}>
                <td><code>{o.key}</code></td><td class="number">{o.size}</td><td>{o.modified}</td>
                <td><Action run={() => request('DELETE', `${base}/${o.key.split('/').map(encodeURIComponent).join('/')}`)} done={list.reload} confirm={`Delete ${o.key}?`}>Delete</Action></td>
              </tr>
            ))}
          </Table>
          {next && <a href={query({ prefix: param('prefix'), after: next })}>Next page</a>}
        </>
      )}</Load>
    </Page>
  )
}
