// Parts that several pages are made of.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { Loaded } from './data'
import { filter, param } from './router'

/** What a page shows where there is nothing: what would be here, and how to get it. */
export function Nothing(props: { title: string; children: ComponentChildren }) {
  return (
    <section class="nothing">
      <h2>{props.title}</h2>
      <p>{props.children}</p>
    </section>
  )
}

/** Shows what was loaded, that it loads, or why it could not be. */
export function Load<T>(props: { from: Loaded<T>; children: (value: T) => ComponentChildren }) {
  const { value, error } = props.from
  if (value !== undefined) return <>{props.children(value)}</>
  if (error) return <p role="alert" class="problem">{error.message}</p>
  return <p class="quiet" aria-busy="true">Loading…</p>
}

export function Page(props: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <>
      <header class="head">
        <h1>{props.title}</h1>
        {props.aside}
      </header>
      {props.children}
    </>
  )
}

/** A table that scrolls by itself; the focus lets a keyboard scroll it. */
export function Table(props: { label: string; head: ComponentChildren[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={props.label}>
      <table>
        <caption>{props.label}</caption>
        <thead><tr>{props.head.map((h, i) => h === '' ? <td key={i} /> : <th key={i} scope="col">{h}</th>)}</tr></thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  )
}

export function Stat(props: { name: string; children: ComponentChildren; bad?: boolean }) {
  return <div class={props.bad ? 'stat bad' : 'stat'}><dt>{props.name}</dt><dd>{props.children}</dd></div>
}

/** A line of the last minutes, without axes. */
export function Spark(props: { values: number[]; label: string }) {
  const most = Math.max(...props.values, 1)
  const step = 80 / Math.max(props.values.length - 1, 1)
  const points = props.values.map((v, i) => `${(i * step).toFixed(1)},${(18 - (v / most) * 16).toFixed(1)}`).join(' ')
  return <svg class="spark" viewBox="0 0 80 20" role="img" aria-label={props.label}><polyline points={points} /></svg>
}

export function Outcome(props: { of: string }) {
  return <span class={props.of === 'ok' ? 'tag good' : 'tag bad'}>{props.of}</span>
}

/** A field that is a filter of the page: its value stands in the address. */
export function Filter(props: { name: string; label: string; options?: string[]; placeholder?: string }) {
  const value = param(props.name)
  const id = `filter-${props.name}`
  return (
    <span class="field">
      <label for={id}>{props.label}</label>
      {props.options
        ? <select id={id} value={value} onChange={(e) => filter(props.name, e.currentTarget.value)}>
            <option value="">any</option>
            {props.options.map((o) => <option key={o} value={o}>{o}</option>)}
          </select>
        : <input id={id} value={value} placeholder={props.placeholder} onChange={(e) => filter(props.name, e.currentTarget.value.trim())} />}
    </span>
  )
}

/** A button that does something to the node, and says what came of it. */
export function Action(props: { children: ComponentChildren; run: () => Promise<unknown>; done?: () => void; confirm?: string }) {
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)
  async function click() {
    if (props.confirm && !window.confirm(props.confirm)) return
    setBusy(true)
    setProblem('')
    try {
      await props.run()
      props.done?.()
    } catch (err) {
      setProblem((err as Error).message)
    }
    setBusy(false)
  }
  return (
    <span class="action">
      <button disabled={busy} onClick={click}>{props.children}</button>
      {problem && <span role="alert" class="problem">{problem}</span>}
    </span>
  )
}
