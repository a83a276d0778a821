import { useRef, useState } from 'preact/hooks'
import { keyPath, request, save, send, upload } from '../api'
import { query, useData } from '../data'
import { say } from '../dialogs'
import { ago, size, stamp } from '../format'
import { Icon } from '../icons'
import { Action, Filter, Filters, Load, Nothing, Page, Table } from '../parts'
import { filter, param } from '../router'

interface Object { key: string; size: number; etag: string; modified: string }
interface Listing { objects: Object[]; folders?: string[]; next?: string }

const largest = 64 << 20 // that the API takes; S3 takes larger ones
const shown = 1 << 20 // of a preview

/** The objects of a bucket, folder by folder: put, look at, get, delete. */
export function BucketPage(props: { app: string; name: string }) {
  const base = `/v1/apps/${props.app}/buckets/${props.name}`
  const prefix = param('prefix')
  const list = useData<Listing>(`${base}/objects${query({ prefix, delimiter: '/', after: param('after'), limit: 200 })}`, 5000)
  const [view, setView] = useState<Object>()
  const folders = prefix.split('/').slice(0, -1)
  return (
    <Page title={props.name} trail={[['Data', '/data'], [props.app, `/data?app=${props.app}`]]} aside={<Filters><Filter name="prefix" label="Prefix" wide placeholder="folder/" /></Filters>}>
      <nav class="crumbs" aria-label="Folders">
        <button class="plain" onClick={() => filter('prefix', '')}>{props.name}</button>
        {folders.map((f, i) => <span key={i}>/<button class="plain" onClick={() => filter('prefix', folders.slice(0, i + 1).join('/') + '/')}>{f}</button></span>)}
      </nav>
      <Upload base={base} prefix={prefix.endsWith('/') || prefix === '' ? prefix : prefix.slice(0, prefix.lastIndexOf('/') + 1)} done={list.reload} />
      <Load from={list}>{({ objects, folders = [], next }) => objects.length + folders.length === 0 ? <Nothing title="No objects here" icon="data" code={`mayfly bucket cp FILE ${props.name}/KEY`}>Drop files above, use any S3 client, or:</Nothing> : (
        <Table label={prefix || 'Objects'} head={['Key', ['Size', 'number'], 'Changed', '']} aside={next && <a class="button" href={`?${new URLSearchParams({ prefix, after: next })}`}>Next page</a>}>
          {folders.map((f) => <tr key={f}><td><button class="plain name" onClick={() => filter('prefix', f)}><Icon name="folder" />{f.slice(prefix.lastIndexOf('/') + 1)}</button></td><td /><td /><td /></tr>)}
          {objects.map((o) => <Row key={o.key} of={o} base={base} name={o.key.slice(prefix.lastIndexOf('/') + 1) || o.key} view={() => setView(o)} done={list.reload} />)}
        </Table>
      )}</Load>
      {view && <Preview base={base} of={view} close={() => setView(undefined)} />}
    </Page>
  )
}

function Row(props: { of: Object; base: string; name: string; view: () => void; done: () => void }) {
  const o = props.of
  const path = `${props.base}/objects/${keyPath(o.key)}`
  const download = async () => {
    if (o.size <= largest) return save(o.key.split('/').pop()!, await (await send('GET', path)).blob())
    const { url } = await request<{ url: string }>('POST', `${props.base}/presign`, { method: 'GET', key: o.key })
    window.open(url, '_blank', 'noreferrer')
  }
  return (
    <tr>
      <td><button class="plain name" onClick={props.view}><Icon name="file" />{props.name}</button></td><td class="number">{size(o.size)}</td><td title={stamp(o.modified)}>{ago(o.modified)}</td>
      <td class="does">
        <Action run={download} label={`Download ${o.key}`}>Download</Action>
        <Action kind="danger" run={() => request('DELETE', path)} done={props.done} said="Deleted" confirm={`Delete ${o.key}?`} label={`Delete ${o.key}`}>Delete</Action>
      </td>
    </tr>
  )
}

function Upload(props: { base: string; prefix: string; done: () => void }) {
  const input = useRef<HTMLInputElement>(null)
  const [over, setOver] = useState(false)
  const [now, setNow] = useState<{ name: string; share: number }>()
  async function put(files: File[]) {
    for (const file of files) {
      if (file.size > largest) {
        say(`${file.name} has ${size(file.size)}; more than ${size(largest)} go by S3: mayfly bucket cp, or any S3 client.`, true)
        continue
      }
      setNow({ name: file.name, share: 0 })
      try {
        await upload(`${props.base}/objects/${keyPath(props.prefix + file.name)}`, file, (share) => setNow({ name: file.name, share }))
        say(`${file.name} is uploaded`)
      } catch (err) {
        say(`${file.name}: ${(err as Error).message}`, true)
      }
    }
    setNow(undefined)
    if (input.current) input.current.value = ''
    props.done()
  }
  return (
    <div class={over ? 'drop over' : 'drop'} onDragOver={(e) => { e.preventDefault(); setOver(true) }} onDragLeave={() => setOver(false)} onDrop={(e) => { e.preventDefault(); setOver(false); void put([...(e.dataTransfer?.files ?? [])]) }}>
      {now ? <><span>{now.name}</span><progress value={now.share} max={1} aria-label={`Upload of ${now.name}`} /></>
        : <><span>Drop files here, or</span><button class="primary" onClick={() => input.current!.click()}>Choose files</button><span class="quiet">they go to {props.prefix || 'the top folder'}, up to {size(largest)} each</span></>}
      <input ref={input} type="file" multiple hidden aria-label="Files" onChange={(e) => void put([...(e.currentTarget.files ?? [])])} />
    </div>
  )
}

/** What is in an object, where that is text or a picture. */
function Preview(props: { base: string; of: Object; close: () => void }) {
  const [text, setText] = useState<string>()
  const [image, setImage] = useState<string>()
  const [asked, setAsked] = useState('')
  const o = props.of
  if (asked !== o.key) {
    setAsked(o.key)
    setText(undefined)
    setImage(undefined)
    if (o.size > shown) setText(`It has ${size(o.size)}: download it to look at it.`)
    else void look(`${props.base}/objects/${keyPath(o.key)}`).then((x) => (x.image ? setImage(x.image) : setText(x.text)), (err: Error) => setText(err.message))
  }
  return (
    <section class="panel" aria-label={o.key}>
      <header><h2>{o.key}</h2><div class="aside"><span class="quiet">{size(o.size)}, {o.etag.slice(0, 8)}</span><button aria-label="Close the preview" onClick={props.close}>Close</button></div></header>
      {image ? <img class="preview" src={image} alt={o.key} /> : <pre tabIndex={0} aria-label="Content">{text ?? 'Loading…'}</pre>}
    </section>
  )
}

async function look(path: string): Promise<{ image?: string; text?: string }> {
  const res = await send('GET', path)
  const kind = res.headers.get('Content-Type') ?? ''
  const data = await res.arrayBuffer()
  if (/^image\/(png|jpeg|gif|webp|avif)/.test(kind)) return { image: URL.createObjectURL(new Blob([data], { type: kind })) }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(data) }
  } catch {
    return { text: [...new Uint8Array(data.slice(0, 512))].map((b, i) => b.toString(16).padStart(2, '0') + (i % 16 === 15 ? '\n' : ' ')).join('') }
  }
}
