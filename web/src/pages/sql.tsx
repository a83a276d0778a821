import { useState } from 'preact/hooks'
import { request, save } from '../api'
import { useData } from '../data'
import { count, duration, plural, size } from '../format'
import { Action, Card, Load, Nothing, Page, Stat } from '../parts'
import { filter, param } from '../router'

export interface Database { database: string; engine: string; bytes: number; reads: number; writes: number; waits: number; longest_wait_ms: number; refused: number }
interface Rows { columns: string[]; rows: unknown[][]; affected: number }

const pageSize = 100

interface Dialect { tables: string; columns: (table: string) => string }
const dialects: Record<string, Dialect> = {
  sqlite: {
    tables: "select name, type, sql from sqlite_schema where type in ('table', 'view') and name not like 'sqlite_%' and name not like '_mayfly%' order by name",
    columns: (t) => `select name, type, case when pk > 0 then 'primary key' when "notnull" then 'not null' else '' end as rule from pragma_table_info(${text(t)})`,
  },
  postgres: {
    tables: "select table_schema || '.' || table_name as name, table_type as type, '' as sql from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') and table_name not like '\\_mayfly%' order by 1",
    columns: (t) => `select column_name as name, data_type as type, case when is_nullable = 'NO' then 'not null' else '' end as rule from information_schema.columns where table_schema || '.' || table_name = ${text(t)} order by ordinal_position`,
  },
}
const text = (s: string) => `'${s.replaceAll("'", "''")}'`
const quoted = (name: string) => name.split('.').map((p) => `"${p.replaceAll('"', '""')}"`).join('.')

/** The tables of a database, and a prompt that only reads unless it is told to write. */
export function DatabasePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/databases`
  const list = useData<{ databases: Database[] }>(base, 5000)
  const d = list.value?.databases.find((x) => x.database === props.name)
  return (
    <Page title={props.name} trail={[['Data', '/data'], [props.app, `/data?app=${props.app}`]]}>
      <Load from={list}>{() => d ? (
        <>
          <dl class="stats"><Stat name="Engine">{d.engine}</Stat><Stat name="Size">{size(d.bytes)}</Stat><Stat name="Reads">{count(d.reads)}</Stat><Stat name="Writes">{count(d.writes)}</Stat><Stat name="Longest wait">{d.longest_wait_ms} ms</Stat></dl>
          <Browser path={`${base}/${props.name}/query`} dialect={dialects[d.engine] ?? dialects.sqlite} />
        </>
      ) : <Nothing title="No such database" icon="data">App {props.app} declares no database {props.name}.</Nothing>}</Load>
    </Page>
  )
}

function useRows(path: string, sql: string | null): { value?: Rows; error?: string; ms?: number } {
  const [state, setState] = useState<{ key: string | null; value?: Rows; error?: string; ms?: number }>({ key: null })
  const key = sql && path + sql
  if (key && state.key !== key) {
    setState({ key })
    const began = performance.now()
    request<Rows>('POST', path, { sql, read_only: true }).then(
      (value) => setState((s) => (s.key === key ? { key, value, ms: performance.now() - began } : s)),
      (err: Error) => setState((s) => (s.key === key ? { key, error: err.message } : s)))
  }
  return state.key === key ? state : {}
}

function Browser(props: { path: string; dialect: Dialect }) {
  const tables = useRows(props.path, props.dialect.tables)
  const table = param('table')
  return (
    <div class="browser">
      <nav aria-label="Tables">
        <h2>Tables</h2>
        {tables.error && <p class="problem" role="alert">{tables.error}</p>}
        {tables.value?.rows.length === 0 && <p class="quiet">None yet: add a migration to <code>migrations:</code> and deploy.</p>}
        {tables.value?.rows.map(([name, type]) => <button key={String(name)} class="plain" aria-pressed={table === name} title={String(type)} onClick={() => filter('table', String(name))}>{String(name)}</button>)}
        <button class="plain" aria-pressed={table === ''} onClick={() => filter('table', '')}>Statement…</button>
      </nav>
      <div>{table ? <TableRows key={table} path={props.path} table={table} dialect={props.dialect} /> : <Prompt path={props.path} />}</div>
    </div>
  )
}

/** The rows of a table by page, sorted by a click on a column. */
function TableRows(props: { path: string; table: string; dialect: Dialect }) {
  const [at, setAt] = useState(0)
  const [order, setOrder] = useState<[column: string, down: boolean]>()
  const from = quoted(props.table)
  const sum = useRows(props.path, `select count(*) from ${from}`)
  const columns = useRows(props.path, props.dialect.columns(props.table))
  const rows = useRows(props.path, `select * from ${from}${order ? ` order by ${quoted(order[0])}${order[1] ? ' desc' : ''}` : ''} limit ${pageSize} offset ${at}`)
  const total = Number(sum.value?.rows[0]?.[0] ?? 0)
  return (
    <>
      {rows.error && <p class="problem" role="alert">{rows.error}</p>}
      {rows.value && <Result of={rows.value} label={props.table} order={order} sort={(c) => setOrder([c, order?.[0] === c && !order[1]])} aside={<>
        <span class="quiet">{total === 0 ? 'no rows' : `${count(at + 1)} to ${count(Math.min(at + pageSize, total))} of ${count(total)}`}</span>
        <button disabled={at === 0} onClick={() => setAt(Math.max(0, at - pageSize))}>Before</button><button disabled={at + pageSize >= total} onClick={() => setAt(at + pageSize)}>Next</button>
      </>} />}
      {columns.value && <Card title="Columns"><table aria-label="Columns"><thead><tr>{['Name', 'Type', 'Rule'].map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead><tbody>{columns.value.rows.map((r) => <tr key={String(r[0])}>{r.map((v, i) => <td key={i}>{i === 0 ? <code>{String(v)}</code> : String(v ?? '')}</td>)}</tr>)}</tbody></table></Card>}
    </>
  )
}

const stored = 'mayfly.sql'
const history = (): string[] => JSON.parse(sessionStorage.getItem(stored) ?? '[]')

function Prompt(props: { path: string }) {
  const [sql, setSQL] = useState(history()[0] ?? '')
  const [writes, setWrites] = useState(false)
  const [answer, setAnswer] = useState<Rows & { ms: number }>()
  const run = async () => {
    setAnswer(undefined)
    const began = performance.now()
    const rows = await request<Rows>('POST', props.path, { sql, read_only: !writes })
    setAnswer({ ...rows, ms: performance.now() - began })
    sessionStorage.setItem(stored, JSON.stringify([sql, ...history().filter((s) => s !== sql)].slice(0, 20)))
  }
  const onKey = (e: KeyboardEvent) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) (e.currentTarget as HTMLElement).closest('section')?.querySelector<HTMLButtonElement>('.row button')?.click()
  }
  return (
    <>
      <Card title="Statement" aside={history().length > 0 && <span class="field"><label for="history">Again</label><select id="history" value="" onChange={(e) => setSQL(e.currentTarget.value)}><option value="">…</option>{history().map((s) => <option key={s}>{s}</option>)}</select></span>}>
        <label class="hidden" for="sql">Statement</label>
        <textarea id="sql" rows={5} spellcheck={false} value={sql} placeholder="select …" onInput={(e) => setSQL(e.currentTarget.value)} onKeyDown={onKey} />
        <p class="row">
          <Action kind={writes ? 'danger' : 'primary'} run={run} confirm={writes ? 'Run it with the right to write?' : undefined}>Run</Action>
          <label class="check"><input type="checkbox" checked={writes} onChange={(e) => setWrites(e.currentTarget.checked)} /> may write</label>
          <span class="quiet"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>
          {answer && <span class="quiet">{answer.columns.length > 0 ? plural(answer.rows.length, 'row') : `${plural(answer.affected, 'row')} affected`} in {duration(answer.ms * 1e6)}</span>}
        </p>
      </Card>
      {answer && answer.columns.length > 0 && <Result of={answer} label="Rows" />}
    </>
  )
}

interface ResultProps { of: Rows; label: string; order?: [string, boolean]; sort?: (column: string) => void; aside?: preact.ComponentChildren }

function Result(props: ResultProps) {
  const { columns, rows } = props.of
  const csv = () => save(`${props.label}.csv`, new Blob([[columns, ...rows].map((r) => r.map(field).join(',') + '\n').join('')], { type: 'text/csv' }))
  const numbers = columns.map((_, i) => rows.length > 0 && rows.every((r) => r[i] === null || typeof r[i] === 'number'))
  return (
    <section class="panel">
      <header><h2>{props.label}</h2><div class="aside">{props.aside}<button onClick={csv}>CSV</button></div></header>
      <div class="scroll" tabIndex={0} role="region" aria-label={props.label}>
        <table aria-label={props.label} class="fitted">
          <thead><tr>{columns.map((c, i) => (
            <th key={i} scope="col" class={numbers[i] ? 'number' : ''} aria-sort={props.order?.[0] === c ? (props.order[1] ? 'descending' : 'ascending') : undefined}>
              {props.sort ? <button class="plain" onClick={() => props.sort!(c)}>{c}{props.order?.[0] === c && (props.order[1] ? ' ↓' : ' ↑')}</button> : c}
            </th>
          ))}</tr></thead>
          <tbody>{rows.map((r, i) => <tr key={i}>{r.map((v, k) => <td key={k} class={numbers[k] ? 'number' : 'cell'}>{shown(v)}</td>)}</tr>)}</tbody>
        </table>
        {rows.length === 0 && <p class="quiet pad">No rows.</p>}
      </div>
    </section>
  )
}

function shown(v: unknown) {
  if (v === null) return <span class="quiet">null</span>
  if (typeof v === 'object') return <code>{JSON.stringify(v)}</code>
  return String(v)
}

/** A value of a CSV file (RFC 4180). */
function field(v: unknown): string {
  const s = v === null ? '' : typeof v === 'object' ? JSON.stringify(v) : String(v)
  return /[",\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s
}
