// A router over the History API: the path is the page, the query its filters.
import { signal } from '@preact/signals'

export const location = signal(new URL(window.location.href))

window.addEventListener('popstate', () => (location.value = new URL(window.location.href)))

export function go(path: string, replace = false) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path)
  location.value = new URL(window.location.href)
}

/** Sets or clears a filter of the page without a new entry in the history. */
export function filter(name: string, value: string) {
  const url = new URL(location.value)
  if (value) url.searchParams.set(name, value)
  else url.searchParams.delete(name)
  go(url.pathname + url.search, true)
}

export function param(name: string): string {
  return location.value.searchParams.get(name) ?? ''
}

/** Turns clicks on links of this origin into navigation. */
export function onClick(ev: MouseEvent) {
  const link = (ev.target as Element).closest?.('a')
  if (!link || link.target || ev.defaultPrevented || ev.button !== 0 || ev.metaKey || ev.ctrlKey || ev.shiftKey) return
  const url = new URL(link.href)
  if (url.origin !== window.location.origin || link.hasAttribute('download')) return
  ev.preventDefault()
  go(url.pathname + url.search)
}

/** Matches a pattern such as /functions/:app/:name. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const want = pattern.split('/')
  const have = path.split('/')
  if (want.length !== have.length) return null
  const params: Record<string, string> = {}
  for (let i = 0; i < want.length; i++) {
    if (want[i].startsWith(':')) params[want[i].slice(1)] = decodeURIComponent(have[i])
    else if (want[i] !== have[i]) return null
  }
  return params
}
