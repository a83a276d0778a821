import { useState } from 'preact/hooks'
import { keyPath, request, send } from '../api'
import { query, useData } from '../data'
import { ago, pretty, size } from '../format'
import { Action, Card, Field, Filter, Filters, Load, Nothing, Page, Table } from '../parts'
import { param } from '../router'

interface Key { key: string; size?: number; revision?: number; expires?: string; content_type?: string }

interface Edited { key: string; value: string; ttl: string; type: string; revision?: string }

/** The keys of a store: look, change, delete. */
export function StorePage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/kv/${props.name}/keys`
  const list = useData<{ keys: Key[]; next?: string }>(`${base}${query({ prefix: param('prefix'), after: param('after'), limit: 200 })}`, 5000)
  const [edited, setEdited] = useState<Edited>({ key: '', value: '', ttl: '', type: 'application/json' })
  const open = async (key: string) => {
    const res = await send('GET', `${base}/${keyPath(key)}`)
    setEdited({ key, value: pretty(await res.text()), ttl: '', type: res.headers.get('Content-Type') ?? 'application/octet-stream', revision: res.headers.get('ETag') ?? undefined })
  }
  return (
    <Page title={props.name} trail={[['Data', '/data'], [props.app, `/data?app=${props.app}`]]} aside={<Filters><Filter name="prefix" label="Prefix" /></Filters>}>
      <div class="cards wide-first">
        <div>
          <Load from={list}>{({ keys, next }) => keys.length === 0 ? <Nothing title={param('prefix') ? 'No such keys' : 'No keys'} icon="data" code={`mayfly kv put ${props.name} KEY VALUE`}>Put one beside, or:</Nothing> : (
            <Table label="Keys" head={['Key', ['Size', 'number'], ['Revision', 'number'], 'Expires', '']} aside={next && <a class="button" href={`?${new URLSearchParams({ prefix: param('prefix'), after: next })}`}>Next page</a>}>
              {keys.map((k) => (
                <tr key={k.key}>
                  <td><button class="plain name" onClick={() => void open(k.key)}><code>{k.key}</code></button></td><td class="number">{size(k.size ?? 0)}</td><td class="number">{k.revision}</td><td>{k.expires ? ago(k.expires) : <span class="quiet">never</span>}</td>
                  <td class="does"><Action kind="danger" run={() => request('DELETE', `${base}/${keyPath(k.key)}`)} done={list.reload} said="Deleted" confirm={`Delete ${k.key}?`} label={`Delete ${k.key}`}>Delete</Action></td>
                </tr>
              ))}
            </Table>
          )}</Load>
        </div>
        <Edit base={base} of={edited} set={setEdited} done={list.reload} />
      </div>
    </Page>
  )
}

/** Writes a value. One that was read before is written only where nobody changed it meanwhile. */
function Edit(props: { base: string; of: Edited; set: (e: Edited) => void; done: () => void }) {
  const e = props.of
  const put = async () => {
    if (!e.key) throw new Error('Name the key.')
    if (e.type.includes('json')) JSON.parse(e.value)
    const res = await send('PUT', `${props.base}/${keyPath(e.key)}${query({ ttl: e.ttl })}`, { body: e.value, type: e.type, headers: e.revision ? { 'If-Match': e.revision } : {} })
    const { revision } = await res.json() as { revision: number }
    props.set({ ...e, revision: `"${revision}"` })
  }
  return (
    <Card title={e.revision ? 'Change a key' : 'Put a key'} aside={e.revision && <button onClick={() => props.set({ key: '', value: '', ttl: '', type: 'application/json' })}>New</button>}>
      <div class="form">
        <Field id="key" label="Key" value={e.key} set={(key) => props.set({ ...e, key, revision: undefined })} wide />
        <label for="value">Value</label>
        <textarea id="value" rows={8} spellcheck={false} value={e.value} onInput={(ev) => props.set({ ...e, value: ev.currentTarget.value })} />
        <Field id="type" label="Type" value={e.type} set={(type) => props.set({ ...e, type })} options={[...new Set(['application/json', 'text/plain', e.type])]} />
        <Field id="ttl" label="Lives for" value={e.ttl} set={(ttl) => props.set({ ...e, ttl })} placeholder="ever, or 1h" />
        <p class="row"><Action kind="primary" run={put} done={props.done} said="Put">Put</Action>{e.revision && <span class="quiet">only where revision {e.revision.replaceAll('"', '')} is still the last</span>}</p>
      </div>
    </Card>
  )
}
