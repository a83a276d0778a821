// The public API as the console uses it: every call goes through send, with the
// token of the session.
import { signal } from '@preact/signals'

const stored = 'mayfly.token'

export const token = signal(sessionStorage.getItem(stored) ?? localStorage.getItem(stored) ?? '')

/** Why nobody is signed in any more, where the node said so. */
export const ended = signal('')

/** Stay is for who comes back to this browser; else the tab alone knows the token. */
export function login(value: string, stay = false) {
  token.value = value
  ended.value = ''
  sessionStorage.setItem(stored, value)
  if (stay) localStorage.setItem(stored, value)
}

export function logout(why = '') {
  token.value = ''
  ended.value = why
  sessionStorage.removeItem(stored)
  localStorage.removeItem(stored)
  known.clear()
}

// `mayfly console` makes a link that signs in. What follows the # stays in the
// browser, and is taken out of its address.
const linked = /^#token=(.+)$/.exec(window.location.hash)
if (linked) {
  login(decodeURIComponent(linked[1]))
  history.replaceState(null, '', window.location.pathname + window.location.search)
}

/** Since when the node does not answer; 0 while it does. */
export const lost = signal(0)

/** How often the node answered again: what is shown is read again then. */
export const comebacks = signal(0)

function lose() {
  if (lost.value) return
  lost.value = Date.now()
  void knock()
}

/** Asks until the node answers: pages that read once would never know. */
async function knock() {
  while (lost.value) {
    await new Promise((resolve) => setTimeout(resolve, 1000))
    if (lost.value) await send('GET', '/v1/node').catch(() => {})
  }
}

function found() {
  if (!lost.value) return
  lost.value = 0
  comebacks.value++
}

/** What the API answers to a request that failed: RFC 9457 with a code. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, detail: string, readonly body?: Record<string, unknown>, readonly headers?: Headers) {
    super(detail)
  }
}

/** as is the token where it is not that of the session, as before signing in. */
export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, as?: string): Promise<T> {
  const res = await send(method, path, { body: body === undefined ? undefined : JSON.stringify(body), signal, as })
  const text = await res.text()
  return (text ? JSON.parse(text) : undefined) as T
}

interface Sent { body?: BodyInit; type?: string; signal?: AbortSignal; as?: string; headers?: Record<string, string> }

export async function send(method: string, path: string, o: Sent = {}): Promise<Response> {
  const headers: Record<string, string> = { Authorization: `Bearer ${o.as ?? token.value}`, ...o.headers }
  if (o.body !== undefined) headers['Content-Type'] = o.type ?? 'application/json'
  const res = await fetch(path, { method, headers, signal: o.signal, body: o.body, cache: 'no-store' }).catch((err: Error) => {
    if (o.signal?.aborted) throw err
    if (token.value) lose()
    throw new Problem(0, 'unavailable', 'The node does not answer. Is it running?')
  })
  found()
  if (res.ok || res.status === 304) return res
  const problem = await res.json().catch(() => ({}))
  const detail: string = problem.detail ?? problem.errorMessage ?? res.statusText
  // The first of several says why: signing out breaks the others off, whose texts are lost.
  if (res.status === 401 && o.as === undefined && token.value) logout(detail)
  throw new Problem(res.status, problem.code ?? 'internal', detail, problem, res.headers)
}

/** In how many milliseconds an answer that failed is asked for again; 0 where that is of no use. */
export function again(error: unknown): number {
  if (!(error instanceof Problem)) return 5000
  const { status, headers } = error
  if (status === 429) return Math.max(1, Number(headers?.get('Retry-After')) || 5) * 1000
  return status === 0 || status === 408 || status >= 500 ? 5000 : 0
}

// What was read last of the paths that are read again and again.
const known = new Map<string, { tag: string; value: unknown }>()
const mostKnown = 100

/** Reads a path again: what did not change is neither sent nor parsed, and is the same object. */
export async function reread<T>(path: string, signal?: AbortSignal): Promise<T> {
  const had = known.get(path)
  const res = await send('GET', path, { signal, headers: had ? { 'If-None-Match': had.tag } : {} })
  if (res.status === 304 && had) return had.value as T
  const value = await res.json() as T
  const tag = res.headers.get('ETag')
  known.delete(path)
  if (tag) known.set(path, { tag, value })
  if (known.size > mostKnown) known.delete(known.keys().next().value!)
  return value
}

/** Sends a file and says how far it is, from 0 to 1; fetch cannot tell. */
export function upload(path: string, file: Blob, progress: (share: number) => void): Promise<void> {
  return new Promise((done, failed) => {
    const req = new XMLHttpRequest()
    req.open('PUT', path)
    req.setRequestHeader('Authorization', `Bearer ${token.value}`)
    req.setRequestHeader('Content-Type', file.type || 'application/octet-stream')
    req.upload.onprogress = (ev) => ev.lengthComputable && progress(ev.loaded / ev.total)
    req.onerror = () => failed(new Error('The connection broke.'))
    req.onload = () => {
      if (req.status < 300) return done()
      let detail = req.statusText
      try {
        detail = JSON.parse(req.responseText).detail ?? detail
      } catch { /* not JSON: the status says what there is */ }
      failed(new Problem(req.status, 'internal', detail))
    }
    req.send(file)
  })
}

/** Gives the browser a file to save. */
export function save(name: string, content: Blob) {
  const url = URL.createObjectURL(content)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/**
 * Calls each with every event of a stream of server-sent events until the
 * signal aborts, or throws what the node refuses it for. EventSource cannot send
 * the token, so the stream is read by fetch. It is opened again when it breaks;
 * events that the node begins with and that were given before are not given twice.
 */
export async function follow<T>(path: string, each: (event: T) => void, signal: AbortSignal) {
  const given = new Set<string>()
  const fresh = (text: string) => {
    if (given.has(text)) return
    given.add(text)
    if (given.size > mostGiven) given.delete(given.values().next().value!)
    each(JSON.parse(text) as T)
  }
  while (!signal.aborted) {
    let wait = 1000
    try {
      const res = await send('GET', path, { signal })
      await readEvents(res.body!, fresh)
    } catch (err) {
      if (signal.aborted) return
      if (!again(err)) throw err
      if (err instanceof Problem && err.status === 429) wait = again(err)
    }
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
}

const mostGiven = 1000 // what a tail begins with at most

async function readEvents(body: ReadableStream<Uint8Array>, each: (text: string) => void) {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      if (line.startsWith('data:')) each(line.slice(5))
    }
  }
}

/** A path of the API with each part encoded, a key's slashes kept. */
export function keyPath(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/')
}
