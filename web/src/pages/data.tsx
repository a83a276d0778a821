import { useEffect, useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { size } from '../format'
import { Action, Filter, Load, Nothing, Page, Table } from '../parts'
import { param } from '../router'
import { useApps } from './apps'

interface Store { store: string; keys: number; bytes: number; ttl?: string }
interface Key { key: string; size?: number; revision?: number; expires?: string }
interface Bucket { bucket: string; s3_name: string; bytes: number; objects: number; public: boolean }
interface Database { database: string; engine: string; bytes: number; reads: number; writes: number; waits: number; longest_wait_ms: number; refused: number }
interface Rows { columns: string[]; rows: unknown[][]; affected: number }
interface Object { key: string; size: number; modified?: string }

/** Key-value stores, buckets and databases of every app. */
export function Data() {
  const apps = useApps()
  return (
    <Page title="Data">
      <Load from={apps}>{(names) => names.length === 0
        ? <Nothing title="No data services">Declare <code>kv:</code>, <code>buckets:</code> or <code>databases:</code> in <code>mayfly.yaml</code>.</Nothing>
        : <>{names.map((app) => <AppData key={app} app={app} />)}</>}</Load>
    </Page>
  )
}

function AppData(props: { app: string }) {
  const base = `/v1/apps/${props.app}`
  const stores = useData<{ stores: Store[] }>(`${base}/kv`, 5000)
  const buckets = useData<{ buckets: Bucket[] }>(`${base}/buckets`, 5000)
  const databases = useData<{ databases: Database[] }>(`${base}/databases`, 5000)
  return (
    <section>
      <h2>{props.app}</h2>
      <Load from={stores}>{({ stores }) => stores.length === 0 ? <p class="quiet">No key-value stores.</p> : (
        <Table label={`Stores of ${props.app}`} head={['Store', 'Keys', 'Size']}>
          {stores.map((s) => <tr key={s.store}><td><a href={`/data/${props.app}/kv/${s.store}`}>{s.store}</a></td><td class="number">{s.keys}</td><td class="number">{size(s.bytes)}</td></tr>)}
        </Table>
      )}</Load>
      <Load from={buckets}>{({ buckets }) => buckets.length === 0 ? <p class="quiet">No buckets.</p> : (
        <Table label={`Buckets of ${props.app}`} head={['Bucket', 'In S3', 'Objects', 'Size', 'Read by']}>
          {buckets.map((b) => <tr key={b.bucket}><td><a href={`/data/${props.app}/bucket/${b.bucket}`}>{b.bucket}</a></td><td><code>{b.s3_name}</code></td><td class="number">{b.objects}</td><td class="number">{size(b.bytes)}</td><td>{b.public ? 'everyone' : 'the app'}</td></tr>)}
        </Table>
      )}</Load>
      <Load from={databases}>{({ databases }) => databases.length === 0 ? <p class="quiet">No databases.</p> : (
        <Table label={`Databases of ${props.app}`} head={['Database', 'Engine', 'Size', 'Reads', 'Writes', 'Waits', 'Longest wait', 'Refused']}>
          {databases.map((d) => (
            <tr key={d.database}><td><a href={`/data/${props.app}/sql/${d.database}`}>{d.database}</a></td><td>{d.engine}</td><td class="number">{size(d.bytes)}</td>
              {[d.reads, d.writes, d.waits].map((n, i) => <td key={i} class="number">{n}</td>)}<td class="number">{d.longest_wait_ms} ms</td><td class="number">{d.refused}</td></tr>
          ))}
        </Table>
      )}</Load>
    </section>
  )
}

const tables: Record<string, string> = {
  sqlite: "select name, type from sqlite_schema where name not like 'sqlite_%' and name not like '_mayfly%' order by name",
  postgres: "select table_name as name, table_type as type from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') order by 1",
}

/** Whether a statement surely only reads: what might write is asked about first. */
function reads(sql: string): boolean {
  return /^\s*(select|with|explain|values|show)\b/i.test(sql) && !/\b(insert|update|delete|replace|merge|into)\b|;\s*\S/i.test(sql)
}

/** A prompt over one database, and its tables. */
export function DatabasePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/databases`
  const list = useData<{ databases: Database[] }>(base)
  const engine = list.value?.databases.find((d) => d.database === props.name)?.engine
  const [sql, setSQL] = useState('')
  const [answer, setAnswer] = useState<Rows>()
  const run = async (text: string) => {
    setSQL(text)
    setAnswer(undefined)
    setAnswer(await request<Rows>('POST', `${base}/${props.name}/query`, { sql: text }))
  }
  return (
    <Page title={`Database ${props.app}/${props.name}`}>
      <Load from={list}>{() => engine ? <Tables base={`${base}/${props.name}`} sql={tables[engine]} open={(t) => void run(`select * from "${t}" limit 100`)} /> : <Nothing title="No such database">App {props.app} declares no database {props.name}.</Nothing>}</Load>
      <label for="sql">Statement</label>
      <textarea id="sql" rows={4} spellcheck={false} value={sql} placeholder="select 1" onInput={(e) => setSQL(e.currentTarget.value)} />
      <p><Action run={() => run(sql)} confirm={reads(sql) ? undefined : 'This may change data. Run it?'}>Run</Action></p>
      {answer && (answer.columns.length === 0 ? <p role="status">{answer.affected} rows changed.</p> : (
        <Table label={`${answer.rows.length} rows`} head={answer.columns}>
          {answer.rows.map((row, i) => <tr key={i}>{row.map((v, j) => <td key={j}>{v === null ? <span class="quiet">NULL</span> : typeof v === 'object' ? <code>{JSON.stringify(v).slice(0, 80)}</code> : String(v)}</td>)}</tr>)}
        </Table>
      ))}
    </Page>
  )
}

function Tables(props: { base: string; sql: string; open: (table: string) => void }) {
  const [found, setFound] = useState<Rows>()
  const [problem, setProblem] = useState('')
  useEffect(() => {
    request<Rows>('POST', `${props.base}/query`, { sql: props.sql }).then(setFound, (err: Error) => setProblem(err.message))
  }, [props.base, props.sql])
  if (problem) return <p role="alert" class="problem">{problem}</p>
  if (!found) return <p class="quiet" aria-busy="true">Loading…</p>
  if (found.rows.length === 0) return <p class="quiet">No tables yet: add a migration, see docs/services.md.</p>
  return <p class="chips">{found.rows.map(([name, type]) => <button key={String(name)} title={String(type)} onClick={() => props.open(String(name))}>{String(name)}</button>)}</p>
}

export function StorePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/kv/${props.name}/keys`
  const list = useData<{ keys: Key[]; next?: string }>(`${base}${query({ prefix: param('prefix'), after: param('after'), limit: 100 })}`, 5000)
  return (
    <Page title={`Store ${props.app}/${props.name}`} aside={<Filter name="prefix" label="Prefix" />}>
      <Load from={list}>{({ keys, next }) => keys.length === 0 ? <Nothing title="No keys">Put one: <code>mayfly kv put {props.name} KEY VALUE</code></Nothing> : (
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
  const list = useData<{ objects: Object[]; next?: string }>(`${base}${query({ prefix: param('prefix'), after: param('after'), limit: 100 })}`, 5000)
  return (
    <Page title={`Bucket ${props.app}/${props.name}`} aside={<Filter name="prefix" label="Prefix" />}>
      <Load from={list}>{({ objects, next }) => objects.length === 0 ? <Nothing title="No objects">Put one with any S3 client, or <code>mayfly bucket cp FILE {props.name}/KEY</code></Nothing> : (
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
