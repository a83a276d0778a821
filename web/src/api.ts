// The public API as the console uses it: every call goes through send, with the
// token of the session.
import { signal } from '@preact/signals'

const stored = 'mayfly.token'

export const token = signal(sessionStorage.getItem(stored) ?? '')

export function login(value: string) {
  token.value = value
  sessionStorage.setItem(stored, value)
}

export function logout() {
  token.value = ''
  sessionStorage.removeItem(stored)
  known.clear()
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
  const res = await fetch(path, { method, headers, signal: o.signal, body: o.body, cache: 'no-store' })
  if (res.ok || res.status === 304) return res
  if (res.status === 401 && o.as === undefined) logout()
  const problem = await res.json().catch(() => ({}))
  throw new Problem(res.status, problem.code ?? 'internal', problem.detail ?? problem.errorMessage ?? res.statusText, problem, res.headers)
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
 * signal aborts. EventSource cannot send the token, so the stream is read by
 * fetch; it is opened again when it breaks.
 */
export async function follow<T>(path: string, each: (event: T) => void, signal: AbortSignal) {
  while (!signal.aborted) {
    try {
      const res = await send('GET', path, { signal })
      await readEvents(res.body!, each)
    } catch (err) {
      if (signal.aborted || (err instanceof Problem && err.status < 500)) return
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

async function readEvents<T>(body: ReadableStream<Uint8Array>, each: (event: T) => void) {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      if (line.startsWith('data:')) each(JSON.parse(line.slice(5)) as T)
    }
  }
}

/** A path of the API with each part encoded, a key's slashes kept. */
export function keyPath(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/')
}
