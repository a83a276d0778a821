// Hooks that bring the API's answers into pages.
import { useEffect, useState } from 'preact/hooks'
import { follow, request } from './api'

export interface Loaded<T> {
  value?: T
  error?: Error
  reload: () => void
}

/** Reads path, again every so many milliseconds where given, and on reload. */
export function useData<T>(path: string | null, every = 0): Loaded<T> {
  const [state, setState] = useState<{ path?: string | null; value?: T; error?: Error }>({})
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    if (path === null) return
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const read = async () => {
      try {
        const value = await request<T>('GET', path, undefined, stop.signal)
        setState({ path, value })
      } catch (error) {
        if (!stop.signal.aborted) setState((s) => ({ path, value: s.path === path ? s.value : undefined, error: error as Error }))
      }
      if (every && !stop.signal.aborted) timer = setTimeout(read, every)
    }
    void read()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [path, every, turn])
  const fresh = state.path === path
  return { value: fresh ? state.value : undefined, error: fresh ? state.error : undefined, reload: () => setTurn(turn + 1) }
}

/** Collects the newest rows of a stream, the newest last, at most so many. */
export function useStream<T>(path: string | null, most = 500): T[] {
  const [rows, setRows] = useState<T[]>([])
  useEffect(() => {
    setRows([])
    if (path === null) return
    const stop = new AbortController()
    let pending: T[] = []
    // A busy stream is drawn ten times a second, not once a row.
    const timer = setInterval(() => {
      if (pending.length === 0) return
      const fresh = pending
      pending = []
      setRows((old) => [...old, ...fresh].slice(-most))
    }, 100)
    void follow<T>(path, (row) => void pending.push(row), stop.signal)
    return () => {
      stop.abort()
      clearInterval(timer)
    }
  }, [path, most])
  return rows
}

export function query(params: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) if (value) q.set(name, String(value))
  const text = q.toString()
  return text ? `?${text}` : ''
}
