import { useData } from '../data'
import { count, size } from '../format'
import { Load, Table, Tag } from '../parts'
import type { AppSummary } from '../types'
import { ByApp } from './apps'
import type { Database } from './sql'

interface Store { store: string; keys: number; bytes: number; ttl?: string }
interface Bucket { bucket: string; s3_name: string; bytes: number; objects: number; public: boolean }

/** Key-value stores, buckets and databases of every app. */
export function Data() {
  return (
    <ByApp title="Data" icon="data" kinds={['kv', 'bucket', 'database']} empty="No data services" code={'kv: {sessions: {ttl: 1h}}\nbuckets: {uploads: {}}\ndatabases: {main: {engine: sqlite, migrations: ./migrations}}'}
      teach={<>Buckets speak S3, databases SQL, and key-value stores a few verbs over HTTP. Declare what an app needs in <code>mayfly.yaml</code>, and allow its functions to touch it:</>}>
      {(app) => <AppData app={app} />}
    </ByApp>
  )
}

function AppData(props: { app: AppSummary }) {
  const { name, resources = {} } = props.app
  const base = `/v1/apps/${name}`
  const stores = useData<{ stores: Store[] }>(resources.kv ? `${base}/kv` : null, 5000)
  const buckets = useData<{ buckets: Bucket[] }>(resources.bucket ? `${base}/buckets` : null, 5000)
  const databases = useData<{ databases: Database[] }>(resources.database ? `${base}/databases` : null, 5000)
  return (
    <section class="app">
      <h2 class="of">{name}</h2>
      {resources.bucket && <Load from={buckets}>{({ buckets }) => (
        <Table label="Buckets" head={['Bucket', 'Name in S3', ['Objects', 'number'], ['Size', 'number'], 'Read by']}>
          {buckets.map((b) => <tr key={b.bucket}><td><a href={`/data/${name}/bucket/${b.bucket}`}>{b.bucket}</a></td><td><code>{b.s3_name}</code></td><td class="number">{count(b.objects)}</td><td class="number">{size(b.bytes)}</td><td>{b.public ? <Tag kind="warn">everyone</Tag> : 'the app'}</td></tr>)}
        </Table>
      )}</Load>}
      {resources.database && <Load from={databases}>{({ databases }) => (
        <Table label="Databases" head={['Database', 'Engine', ['Size', 'number'], ['Reads', 'number'], ['Writes', 'number'], ['Waits', 'number'], ['Longest wait', 'number'], ['Refused', 'number']]}>
          {databases.map((d) => (
            <tr key={d.database}><td><a href={`/data/${name}/sql/${d.database}`}>{d.database}</a></td><td>{d.engine}</td><td class="number">{size(d.bytes)}</td>
              {[d.reads, d.writes, d.waits].map((n, i) => <td key={i} class="number">{count(n)}</td>)}<td class="number">{d.longest_wait_ms} ms</td><td class={d.refused ? 'number bad' : 'number'}>{d.refused}</td></tr>
          ))}
        </Table>
      )}</Load>}
      {resources.kv && <Load from={stores}>{({ stores }) => (
        <Table label="Key-value stores" head={['Store', ['Keys', 'number'], ['Size', 'number'], 'Keys live for']}>
          {stores.map((s) => <tr key={s.store}><td><a href={`/data/${name}/kv/${s.store}`}>{s.store}</a></td><td class="number">{count(s.keys)}</td><td class="number">{size(s.bytes)}</td><td>{s.ttl ?? <span class="quiet">ever</span>}</td></tr>)}
        </Table>
      )}</Load>}
    </section>
  )
}
