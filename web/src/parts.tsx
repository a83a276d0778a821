// Parts that several pages are made of.
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Problem } from './api'
import { type Loaded, query, useData } from './data'
import { ask, hush, say } from './dialogs'
import { Icon } from './icons'
import { filter, param } from './router'

/** What a page shows where there is nothing: what would be here, and how to get it. */
export function Nothing(props: { title: string; icon?: string; children: ComponentChildren; code?: string }) {
  return (
    <section class="nothing">
      {props.icon && <Icon name={props.icon} />}
      <h2>{props.title}</h2>
      <p>{props.children}</p>
      {props.code && <Code text={props.code} />}
    </section>
  )
}

/** Text to paste somewhere, with a button that copies it. */
export function Code(props: { text: string; label?: string }) {
  const copy = () => void navigator.clipboard?.writeText(props.text).then(() => say('Copied'))
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={props.label ?? 'To copy'}>{props.text}</pre>
      <button class="plain" onClick={copy}>Copy</button>
    </div>
  )
}

/** Shows what was loaded, that it loads, or why it could not be; and where it is from before an error, that too. */
export function Load<T>(props: { from: Loaded<T>; children: (value: T) => ComponentChildren }) {
  const { value, error, reload } = props.from
  const away = error instanceof Problem && error.status === 0 // which the whole page says
  if (value !== undefined) return <>{error && !away && <p role="status" class="stale">What is shown is from before: {error.message}</p>}{props.children(value)}</>
  if (error) return <Failed error={error} reload={reload} />
  return <div class="skeleton" aria-busy="true"><span class="hidden">Loading…</span></div>
}

/** Why something could not be read, and what helps. */
export function Failed(props: { error: Error; reload?: () => void }) {
  const status = props.error instanceof Problem ? props.error.status : 0
  const hint = { 403: 'The token that you signed in with does not allow it.', 404: 'It may have been removed, or its address is mistyped.', 429: 'It is asked for again in a moment.' }[status]
  return <p role="alert" class="problem box">{props.error.message}{hint && <span class="quiet"> {hint}</span>} {props.reload && <button class="plain" onClick={props.reload}>Try again</button>}</p>
}

/** A page with its heading; trail are the pages above it. */
export function Page(props: { title: string; trail?: [name: string, path: string][]; aside?: ComponentChildren; tags?: ComponentChildren; children: ComponentChildren }) {
  return (
    <>
      <header class="head">
        <div class="title">
          {props.trail && <nav class="trail" aria-label="Above">{props.trail.map(([name, path]) => <a key={path} href={path}>{name}</a>)}</nav>}
          <h1>{props.title}</h1>
          {props.tags}
        </div>
        {props.aside && <div class="aside">{props.aside}</div>}
      </header>
      {props.children}
    </>
  )
}

/** A part of a page that stands by itself. */
export function Card(props: { title?: string; aside?: ComponentChildren; children: ComponentChildren; class?: string }) {
  return (
    <section class={`card ${props.class ?? ''}`}>
      {(props.title || props.aside) && <header>{props.title && <h2>{props.title}</h2>}<div class="aside">{props.aside}</div></header>}
      {props.children}
    </section>
  )
}

/** The columns of a table: their names, which are of numbers, and their widths where all parts of a page shall have the same. */
export type Head = (string | [name: string, kind: 'number' | '', width?: string])[]

export function HeadRow(props: { head: Head }) {
  return (
    <tr>{props.head.map((h, i) => {
      const [name, kind, width] = typeof h === 'string' ? [h, ''] : h
      return <th key={i} scope="col" class={kind} style={{ width }}>{name || <span class="hidden">Actions</span>}</th>
    })}</tr>
  )
}

/** A table that scrolls by itself; the focus lets a keyboard scroll it. */
export function Table(props: { label: string; head: Head; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="panel">
      <header><h2>{props.label}</h2>{props.aside && <div class="aside">{props.aside}</div>}</header>
      <div class="scroll" tabIndex={0} role="region" aria-label={props.label}>
        <table aria-label={props.label} class={props.head.some((h) => typeof h !== 'string' && h[2]) ? 'even' : ''}>
          <thead><HeadRow head={props.head} /></thead>
          <tbody>{props.children}</tbody>
        </table>
      </div>
    </section>
  )
}

export function Stat(props: { name: string; children: ComponentChildren; bad?: boolean; note?: ComponentChildren }) {
  return <div class={props.bad ? 'stat bad' : 'stat'}><dt>{props.name}</dt><dd>{props.children}</dd>{props.note && <dd class="note">{props.note}</dd>}</div>
}

/** Bars of the last minutes, without axes. */
export function Spark(props: { values: number[]; label: string }) {
  const most = Math.max(...props.values, 1)
  const step = 80 / Math.max(props.values.length, 1)
  return (
    <svg class="spark" viewBox="0 0 80 20" role="img" aria-label={props.label} preserveAspectRatio="none">
      {props.values.map((v, i) => v > 0 && <rect key={i} x={i * step} width={Math.max(step - 1, 1)} y={20 - Math.max(1.5, (v / most) * 19)} height={Math.max(1.5, (v / most) * 19)} />)}
    </svg>
  )
}

export function Outcome(props: { of: string }) {
  return <Tag kind={props.of === 'ok' ? 'good' : props.of === 'throttled' || props.of === 'cancelled' ? 'warn' : 'bad'}>{props.of}</Tag>
}

export function Tag(props: { kind?: 'good' | 'bad' | 'warn' | 'accent'; title?: string; children: ComponentChildren }) {
  return <span class={`tag ${props.kind ?? ''}`} title={props.title}>{props.children}</span>
}

/** A function's name as a link to its page. */
export function FunctionLink(props: { app: string; name: string; app_too?: boolean }) {
  return <a href={`/functions/${props.app}/${props.name}`}>{props.app_too === false ? '' : <span class="quiet">{props.app}/</span>}{props.name}</a>
}

export function Bar(props: { share: number; label: string; bad?: boolean }) {
  return <span class="meter" role="img" aria-label={props.label}><span class={props.bad ? 'bad' : ''} style={{ width: `${Math.min(100, props.share * 100)}%` }} /></span>
}

/** A filter of the page: its value stands in the address, so that a view can be sent to somebody. */
export function Filter(props: { name: string; label: string; options?: (string | [value: string, text: string])[]; any?: string; placeholder?: string; wide?: boolean; known?: string[] }) {
  const value = param(props.name)
  const id = `filter-${props.name}`
  const timer = useRef(0)
  const later = (text: string) => {
    clearTimeout(timer.current)
    timer.current = window.setTimeout(() => filter(props.name, text.trim()), 250)
  }
  const own = props.options && value && !props.options.some((o) => (typeof o === 'string' ? o : o[0]) === value)
  return (
    <span class="field">
      <label for={id}>{props.label}</label>
      {props.options
        ? <select id={id} value={value} onChange={(e) => filter(props.name, e.currentTarget.value)}>
            <option value="">{props.any ?? 'any'}</option>
            {own && <option value={value}>{value}</option>}
            {props.options.map((o) => { const [v, text] = typeof o === 'string' ? [o, o] : o; return <option key={v} value={v}>{text}</option> })}
          </select>
        : <input id={id} list={props.known && `${id}-known`} type="search" class={props.wide ? 'wide' : ''} value={value} placeholder={props.placeholder} autocomplete="off" spellcheck={false} onInput={(e) => later(e.currentTarget.value)} onKeyDown={(e) => e.key === 'Enter' && filter(props.name, e.currentTarget.value.trim())} />}
      {props.known && <datalist id={`${id}-known`}>{props.known.map((v) => <option key={v} value={v} />)}</datalist>}
    </span>
  )
}

/** Filters by app and by function that know what is deployed. */
export function AppFilter(props: { placeholder?: string }) {
  const apps = useData<{ apps: { name: string }[] }>('/v1/apps', 60_000)
  return <Filter name="app" label="App" placeholder={props.placeholder} known={(apps.value?.apps ?? []).slice(0, 200).map((a) => a.name)} />
}

export function FunctionFilter(props: { placeholder?: string }) {
  const app = param('app')
  const list = useData<{ functions: { name: string }[] }>(`/v1/functions${query({ app, find: param('function'), limit: 50 })}`, 0, true)
  return <Filter name="function" label="Function" placeholder={props.placeholder} known={[...new Set((list.value?.functions ?? []).map((f) => f.name))]} />
}

export function Filters(props: { children: ComponentChildren }) {
  return <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>{props.children}</form>
}

/** A labelled input of a form. */
export function Field(props: { id: string; label: string; value: string; set: (v: string) => void; options?: string[]; placeholder?: string; secret?: boolean; wide?: boolean }) {
  const { id, value, placeholder } = props
  const input = { id, value, placeholder, class: props.wide ? 'wide' : '', autocomplete: 'off' as const, spellcheck: false, onInput: (e: { currentTarget: HTMLInputElement }) => props.set(e.currentTarget.value) }
  return (
    <span class="field">
      <label for={id}>{props.label}</label>
      {props.options
        ? <select id={id} value={value} onChange={(e) => props.set(e.currentTarget.value)}>{props.options.map((o) => <option key={o}>{o}</option>)}</select>
        : props.secret ? <input {...input} type="password" /> : <input {...input} type="text" />}
    </span>
  )
}

interface ActionProps {
  children: ComponentChildren
  run: () => Promise<unknown>
  done?: () => void
  said?: string // what is said once it is done
  confirm?: string // what is asked before
  kind?: 'primary' | 'danger'
  label?: string // for readers, where the text says too little
  disabled?: boolean
}

/** A button that does something to the node, and says what came of it. */
export function Action(props: ActionProps) {
  const [busy, setBusy] = useState(false)
  const alive = useRef(true)
  useEffect(() => () => { alive.current = false }, [])
  async function click() {
    const verb = typeof props.children === 'string' ? props.children : props.label ?? 'Yes'
    if (props.confirm && !await ask(props.confirm, verb, props.kind === 'danger')) return
    setBusy(true)
    hush()
    try {
      await props.run()
      if (props.said) say(props.said)
      props.done?.()
    } catch (err) {
      say((err as Error).message, true)
    }
    if (alive.current) setBusy(false)
  }
  return <button type="button" class={props.kind} disabled={busy || props.disabled} aria-label={props.label} aria-busy={busy || undefined} onClick={click}>{props.children}</button>
}

/** Tabs whose choice stands in the address. */
export function Tabs(props: { name: string; tabs: [id: string, title: ComponentChildren][]; children: (id: string) => ComponentChildren }) {
  const now = param(props.name) || props.tabs[0][0]
  const onKey = (e: KeyboardEvent & { currentTarget: HTMLDivElement }) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0
    if (!step) return
    const i = props.tabs.findIndex(([id]) => id === now)
    const next = props.tabs[(i + step + props.tabs.length) % props.tabs.length][0]
    filter(props.name, next)
    e.currentTarget.querySelector<HTMLElement>(`#tab-${next}`)?.focus()
  }
  return (
    <>
      <div class="tabs" role="tablist" onKeyDown={onKey}>
        {props.tabs.map(([id, title]) => (
          <button key={id} id={`tab-${id}`} role="tab" aria-selected={id === now} aria-controls="tabpanel" tabIndex={id === now ? 0 : -1} onClick={() => filter(props.name, id)}>{title}</button>
        ))}
      </div>
      <div id="tabpanel" role="tabpanel" aria-labelledby={`tab-${now}`}>{props.children(now)}</div>
    </>
  )
}

/** Draws its children once they come near the window: a page of a thousand apps asks for those that are seen. */
export function Lazily(props: { children: ComponentChildren }) {
  const at = useRef<HTMLDivElement>(null)
  const [near, setNear] = useState(false)
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && setNear(true), { rootMargin: '300px' })
    watch.observe(at.current!)
    return () => watch.disconnect()
  }, [])
  return <div ref={at} class={near ? '' : 'later'}>{near && props.children}</div>
}
