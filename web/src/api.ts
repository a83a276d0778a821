// The public API as the console uses it: every call goes through request or
// follow, both with the token of the session.
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
}

/** What the API answers to a request that failed: RFC 9457 with a code. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, detail: string) {
    super(detail)
  }
}

/** as is the token where it is not that of the session, as before signing in. */
export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, as?: string): Promise<T> {
  const res = await send(method, path, body, signal, as)
  const text = await res.text()
  return (text ? JSON.parse(text) : undefined) as T
}

async function send(method: string, path: string, body?: unknown, signal?: AbortSignal, as = token.value): Promise<Response> {
  const headers: Record<string, string> = { Authorization: `Bearer ${as}` }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  const res = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) })
  if (res.ok) return res
  if (res.status === 401) logout()
  const problem = await res.json().catch(() => ({}))
  throw new Problem(res.status, problem.code ?? 'internal', problem.detail ?? problem.errorMessage ?? res.statusText)
}

/**
 * Calls each with every event of a stream of server-sent events until the
 * signal aborts. EventSource cannot send the token, so the stream is read by
 * fetch; it is opened again when it breaks.
 */
export async function follow<T>(path: string, each: (event: T) => void, signal: AbortSignal) {
  while (!signal.aborted) {
    try {
      const res = await send('GET', path, undefined, signal)
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
