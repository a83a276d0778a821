// Lists of which only what is seen is drawn, in rows of one height.
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { again, comebacks, reread } from './api'
import { onceSeen } from './data'
import { type Head, HeadRow } from './parts'

/** The rows that a scrolled box shows, and some more on both sides. */
export function useWindow(total: number, height: number, most = 12) {
  const at = useRef<HTMLDivElement>(null)
  const [seen, setSeen] = useState<[number, number]>([0, 60])
  useLayoutEffect(() => {
    const box = at.current
    if (!box) return
    let frame = 0
    const look = () => {
      frame = 0
      const from = Math.max(0, Math.floor(box.scrollTop / height) - most)
      const to = Math.ceil((box.scrollTop + box.clientHeight) / height) + most
      setSeen((old) => old[0] === from && old[1] === to ? old : [from, to])
    }
    const later = () => (frame ||= requestAnimationFrame(look))
    look()
    box.addEventListener('scroll', later, { passive: true })
    const resized = new ResizeObserver(later)
    resized.observe(box)
    return () => {
      cancelAnimationFrame(frame)
      box.removeEventListener('scroll', later)
      resized.disconnect()
    }
  }, [height, most, total === 0])
  const to = Math.min(seen[1], total)
  return { at, from: Math.max(0, Math.min(seen[0], to)), to }
}

/** Reads a long list by page: those that are seen, again every so many milliseconds. */
export function usePages<T, P>(path: (after: number, limit: number) => string, rows: (page: P) => { rows: T[]; total: number }, every: number, size = 100) {
  const [state, setState] = useState<{ key: string; pages: Map<number, T[]>; total?: number; first?: P; error?: Error }>({ key: '', pages: new Map() })
  const [seen, setSeen] = useState<[number, number]>([0, 0])
  const key = path(0, size)
  const [a, b] = seen
  useEffect(() => {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const read = async () => {
      let next = every
      try {
        await onceSeen(stop.signal)
        for (let n = a; n <= b; n++) {
          const page = await reread<P>(path(n * size, size), stop.signal)
          const got = rows(page)
          setState((s) => {
            const pages = new Map(s.key === key ? s.pages : [])
            if (s.key === key && pages.get(n) === got.rows && s.total === got.total) return s
            pages.set(n, got.rows)
            return { key, pages, total: got.total, first: n === 0 || s.key !== key ? page : s.first }
          })
        }
      } catch (error) {
        next = Math.max(every, again(error))
        if (!stop.signal.aborted) setState((s) => ({ ...s, error: error as Error }))
      }
      if (!stop.signal.aborted) timer = setTimeout(read, next)
    }
    void read()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [key, a, b, every, comebacks.value])
  const fresh = state.key === key
  return {
    total: fresh ? state.total : undefined,
    first: fresh ? state.first : undefined,
    error: state.error,
    row: (i: number): T | undefined => (fresh ? state.pages.get(Math.floor(i / size))?.[i % size] : undefined),
    look: (from: number, to: number) => {
      const next: [number, number] = [Math.floor(from / size), Math.floor(Math.max(from, to - 1) / size)]
      setSeen((old) => old[0] === next[0] && old[1] === next[1] ? old : next)
    },
  }
}

interface TableProps<T> {
  label: string
  head: Head
  total: number
  row: (i: number) => T | undefined
  render: (row: T) => ComponentChildren // the cells
  look?: (from: number, to: number) => void
}

const rowHeight = 37

/** A table as long as it likes. Rows that are not here yet are empty. */
export function VirtualTable<T>(props: TableProps<T>) {
  const { at, from, to } = useWindow(props.total, rowHeight)
  useEffect(() => props.look?.(from, to), [from, to])
  const rows = []
  for (let i = from; i < to; i++) {
    const row = props.row(i)
    rows.push(<tr key={i} aria-rowindex={i + 2}>{row === undefined ? <td colSpan={props.head.length} class="quiet">…</td> : props.render(row)}</tr>)
  }
  return (
    <div ref={at} class="scroll tall" style={{ height: `min(calc(100vh - 16rem), ${props.total * rowHeight + 36}px)` }} tabIndex={0} role="region" aria-label={props.label}>
      <table class="virtual" aria-label={props.label} aria-rowcount={props.total + 1}>
        <thead><HeadRow head={props.head} /></thead>
        <tbody>
          {from > 0 && <tr aria-hidden="true"><td class="gap" style={{ height: `${from * rowHeight}px` }} /></tr>}
          {rows}
          {to < props.total && <tr aria-hidden="true"><td class="gap" style={{ height: `${(props.total - to) * rowHeight}px` }} /></tr>}
        </tbody>
      </table>
    </div>
  )
}
