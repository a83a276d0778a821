// The keyboard: what goes where, a palette that finds all of it, and the help
// that says so.
import { signal } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { query, useData } from './data'
import { Modal } from './dialogs'
import { nextZone } from './format'
import { Icon } from './icons'
import { go } from './router'
import { nextTheme } from './theme'
import type { FunctionInfo } from './types'

export interface Place { path: string; title: string; key?: string; icon?: string }

const open = signal<'' | 'palette' | 'help'>('')

export const openPalette = () => (open.value = 'palette')
export const openHelp = () => (open.value = 'help')

/** Listens for shortcuts, while nobody types. */
export function useKeys(places: Place[]) {
  useEffect(() => {
    let leader = 0
    const onKey = (ev: KeyboardEvent) => {
      if ((ev.metaKey || ev.ctrlKey) && ev.key === 'k') {
        ev.preventDefault()
        open.value = open.value === 'palette' ? '' : 'palette'
        return
      }
      const typing = (ev.target as Element).matches('input, textarea, select, dialog *')
      if (typing || ev.metaKey || ev.ctrlKey || ev.altKey || open.value) return
      if (ev.key === '/') {
        document.querySelector<HTMLElement>('main [role=search] input, main [role=search] select')?.focus()
        ev.preventDefault()
      } else if (ev.key === '?') openHelp()
      else if (ev.key === 'T') nextTheme()
      else if (ev.key === 'Z') nextZone()
      else if (ev.key === 'j' || ev.key === 'k') step(ev.key === 'j' ? 1 : -1)
      else if (ev.key === 'u') document.querySelector<HTMLAnchorElement>('.trail a:last-child')?.click()
      else if (ev.key === 'g') leader = Date.now()
      else if (Date.now() - leader < 1500) {
        leader = 0
        const place = places.find((p) => p.key === ev.key)
        if (place) go(place.path)
      }
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [places])
}

/** Moves the focus from row to row of the page's tables: to the first thing in each that can have it. */
function step(by: 1 | -1) {
  const rows = [...document.querySelectorAll('main tbody tr, main .line, main .span')]
  const stops = rows.map((r) => (r.matches('button, a') ? r as HTMLElement : r.querySelector<HTMLElement>('a, button'))).filter((x) => x !== null)
  const now = stops.findIndex((s) => s.closest('tr, .line, .span')!.contains(document.activeElement))
  const next = stops[now < 0 ? 0 : now + by]
  next?.focus()
  next?.scrollIntoView({ block: 'nearest' })
}

export function Keyboard(props: { places: Place[] }) {
  const close = () => (open.value = '')
  if (open.value === 'help') return <Help places={props.places} close={close} />
  if (open.value === 'palette') return <Palette places={props.places} close={close} />
  return null
}

const shortcuts: [keys: string[], what: string][] = [
  [['Ctrl', 'K'], 'Find a page, a function or an app'],
  [['/'], 'To the first filter of the page'],
  [['j'], 'Next row'], [['k'], 'Row before'], [['Enter'], 'Open the row'], [['u'], 'Up to the page above'],
  [['T'], 'Theme: system, light, dark'], [['Z'], 'Times: of this browser, or UTC'], [['?'], 'This help'], [['Esc'], 'Close'],
]

function Help(props: { places: Place[]; close: () => void }) {
  const Keys = (p: { of: string[] }) => <dt>{p.of.map((k) => <kbd key={k}>{k}</kbd>)}</dt>
  return (
    <Modal label="Keyboard" close={props.close} class="help">
      <h2>Keyboard</h2>
      <div class="columns">
        <dl>{shortcuts.map(([keys, what]) => <div key={what}><Keys of={keys} /><dd>{what}</dd></div>)}</dl>
        <dl>{props.places.map((p) => <div key={p.path}><Keys of={['g', p.key!]} /><dd>{p.title}</dd></div>)}</dl>
      </div>
    </Modal>
  )
}

interface Hit { title: string; path?: string; icon: string; note?: string; act?: () => void }

/** How well a text matches what was typed: its letters in order; 0 for not at all. */
export function score(text: string, typed: string): number {
  const t = text.toLowerCase()
  const at = t.indexOf(typed)
  if (at >= 0) return 100 - at - t.length / 100 + (at === 0 || /[/ -]/.test(t[at - 1]) ? 50 : 0)
  let i = 0
  for (const c of t) if (c === typed[i]) i++
  return i === typed.length ? 10 - t.length / 100 : 0
}

function Palette(props: { places: Place[]; close: () => void }) {
  const [typed, setTyped] = useState('')
  const [asked, setAsked] = useState('')
  const [at, setAt] = useState(0)
  useEffect(() => {
    const timer = setTimeout(() => setAsked(typed), 120)
    return () => clearTimeout(timer)
  }, [typed])
  const functions = useData<{ functions: FunctionInfo[] }>(`/v1/functions${query({ find: asked, limit: 8 })}`, 0, true)
  const hits = find(props.places, functions.value?.functions ?? [], typed.toLowerCase().trim())
  const list = useRef<HTMLUListElement>(null)
  const take = (h?: Hit) => {
    if (!h) return
    props.close()
    if (h.path) go(h.path)
    h.act?.()
  }
  const onKey = (ev: KeyboardEvent) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[ev.key]
    if (move) {
      ev.preventDefault()
      const next = (at + move + hits.length) % Math.max(hits.length, 1)
      setAt(next)
      list.current?.children[next]?.scrollIntoView({ block: 'nearest' })
    } else if (ev.key === 'Enter') take(hits[at])
  }
  return (
    <Modal label="Find" close={props.close} class="palette">
      <input type="text" role="combobox" aria-expanded="true" aria-controls="found" aria-activedescendant={hits[at] ? `found-${at}` : undefined} aria-label="Find a page or a function" placeholder="Find a page or a function" autoFocus autocomplete="off" spellcheck={false}
        value={typed} onInput={(e) => { setTyped(e.currentTarget.value); setAt(0) }} onKeyDown={onKey} />
      <ul id="found" role="listbox" aria-label="Found" ref={list}>
        {hits.map((h, i) => (
          <li key={h.title + h.note} id={`found-${i}`} role="option" aria-selected={i === at} onMouseMove={() => setAt(i)} onClick={() => take(h)}>
            <Icon name={h.icon} /><span>{h.title}</span><span class="quiet">{h.note}</span>
          </li>
        ))}
      </ul>
      {hits.length === 0 && <p class="quiet">Nothing has that name.</p>}
    </Modal>
  )
}

function find(places: Place[], functions: FunctionInfo[], typed: string): Hit[] {
  const fixed: Hit[] = [
    ...places.map((p) => ({ title: p.title, path: p.path, icon: p.icon ?? 'file', note: `g ${p.key}` })),
    { title: 'Switch theme', icon: 'dark', note: 'T', act: nextTheme },
    { title: 'Switch between UTC and the time of this browser', icon: 'schedule', note: 'Z', act: nextZone },
    { title: 'Keyboard help', icon: 'keys', note: '?', act: openHelp },
  ]
  const hits = fixed.map((h) => ({ h, n: typed ? score(h.title, typed) : 1 })).filter((x) => x.n > 0).sort((a, b) => b.n - a.n).map((x) => x.h)
  const named: Hit[] = functions.filter((f) => `${f.app}/${f.name}`.includes(typed)).map((f) => ({ title: `${f.app}/${f.name}`, path: `/functions/${f.app}/${f.name}`, icon: 'function', note: f.spec.runtime }))
  const more: Hit[] = typed ? [
    { title: `Search lines for “${typed}”`, path: `/logs${query({ text: typed, since: '1h' })}`, icon: 'logs' },
    ...(/^[0-9a-f]{32}$/.test(typed) ? [{ title: `Trace ${typed.slice(0, 8)}`, path: `/traces/${typed}`, icon: 'traces' }] : []),
  ] : []
  return typed ? [...more.slice(1), ...hits.slice(0, 5), ...named, more[0]] : [...hits, ...named]
}
