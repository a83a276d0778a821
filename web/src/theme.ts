// Dark, light, or what the system says; kept by the browser.
import { computed, effect, signal } from '@preact/signals'

export type Theme = 'system' | 'light' | 'dark'
const stored = 'mayfly.theme'
const themes: Theme[] = ['system', 'light', 'dark']

export const theme = signal<Theme>((localStorage.getItem(stored) as Theme) || 'system')

export function nextTheme() {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length]
  localStorage.setItem(stored, theme.value)
}

effect(() => {
  document.documentElement.style.colorScheme = theme.value === 'system' ? 'light dark' : theme.value
})

const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
system.addEventListener('change', () => (systemDark.value = system.matches))

/** What the page is drawn in now: charts are drawn again where it changes. */
export const drawn = computed(() => (theme.value === 'system' ? (systemDark.value ? 'dark' : 'light') : theme.value))

/** A colour of the style sheet as it is now, for what draws on a canvas. */
export function colour(name: string): string {
  const probe = document.createElement('i')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const value = getComputedStyle(probe).color
  probe.remove()
  return value
}

/** Colours that are told apart in both themes, also by the colour-blind (after Okabe and Ito). */
export const series = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--c8']
