// Hooks that bring the API's answers into pages.
import { useEffect, useState } from 'preact/hooks'
import { again, comebacks, follow, reread } from './api'

export interface Loaded<T> {
  value?: T
  error?: Error
  reload: () => void
}

/** Ends when somebody sees the page: at once, where somebody does. */
export const onceSeen = (signal: AbortSignal) => new Promise<void>((done) => {
  if (document.hidden) document.addEventListener('visibilitychange', () => done(), { once: true, signal })
  else done()
})

/**
 * Reads path, again every so many milliseconds where given, on reload, after an
 * error that may pass, and when the node is back. A page that nobody sees waits until
 * somebody does; an answer that did not change draws nothing. With keep, the answer for
 * the path before is shown until there is a new one: for paths that move on with time.
 */
export function useData<T>(path: string | null, every = 0, keep = false): Loaded<T> {
  const [state, setState] = useState<{ path?: string | null; value?: T; error?: Error }>({})
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    if (path === null) return
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const read = async () => {
      let next = every
      try {
        await onceSeen(stop.signal)
        const value = await reread<T>(path, stop.signal)
        setState((s) => s.path === path && s.value === value && !s.error ? s : { path, value })
      } catch (error) {
        next = Math.max(every, again(error))
        if (!stop.signal.aborted) setState((s) => ({ path, value: keep || s.path === path ? s.value : undefined, error: error as Error }))
      }
      if (next && !stop.signal.aborted) timer = setTimeout(read, next)
    }
    void read()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [path, every, turn, comebacks.value])
  const fresh = keep || state.path === path
  return { value: fresh ? state.value : undefined, error: fresh ? state.error : undefined, reload: () => setTurn((n) => n + 1) }
}

/** Draws again every so many milliseconds: for what says how late it is. */
export function useTick(every: number) {
  const [, setTurn] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => setTurn((n) => n + 1), every)
    return () => clearInterval(timer)
  }, [every])
}

/** Collects the newest rows of a stream, the newest last, at most so many. While held, none are added. */
export function useStream<T>(path: string | null, most = 500, held = false): { rows: T[]; error?: Error } {
  const [rows, setRows] = useState<T[]>([])
  const [error, setError] = useState<Error>()
  useEffect(() => {
    setRows([])
    setError(undefined)
  }, [path])
  useEffect(() => {
    if (path === null || held) return
    const stop = new AbortController()
    let pending: T[] = []
    // A busy stream is drawn ten times a second, not once a row.
    const timer = setInterval(() => {
      if (pending.length === 0) return
      const fresh = pending
      pending = []
      setRows((old) => [...old, ...fresh].slice(-most))
    }, 100)
    follow<T>(path, (row) => void pending.push(row), stop.signal).catch(setError)
    return () => {
      stop.abort()
      clearInterval(timer)
    }
  }, [path, most, held])
  return { rows, error }
}

export function query(params: Record<string, string | number | boolean | undefined>): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) if (value) q.set(name, String(value))
  const text = q.toString()
  return text ? `?${text}` : ''
}
