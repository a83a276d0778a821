// Numbers and times for people.
import { signal } from '@preact/signals'

export function duration(ns: number): string {
  const ms = ns / 1e6
  if (ms === 0) return '0 ms'
  if (ms < 0.1) return `${(ns / 1e3).toFixed(0)} µs`
  if (ms < 10) return `${ms.toFixed(2)} ms`
  if (ms < 1000) return `${ms.toFixed(0)} ms`
  if (ms < 100_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
  return `${(ms / 60_000).toFixed(1)} min`
}

export const seconds = (s: number) => duration(s * 1e9)

export function percent(share: number): string {
  if (share === 0) return '0 %'
  return share < 0.001 ? '< 0.1 %' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return '0'
  return perSecond >= 1 ? `${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s` : `${(perSecond * 60).toFixed(1)}/min`
}

/** 1234567 as 1,234,567. */
export const count = (n: number) => n.toLocaleString('en')

/** A count with its noun: 1 row, 2 rows. */
export const plural = (n: number, one: string) => `${count(n)} ${one}${n === 1 ? '' : 's'}`

/** Large counts where there is little room: 12.3 k. */
export function brief(n: number): string {
  if (n < 10_000) return count(n)
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} k`
  return `${(n / 1e6).toFixed(n < 1e7 ? 2 : 1)} M`
}

const pad = (n: number) => String(n).padStart(2, '0')

const stored = 'mayfly.zone'

/** Whether times are shown in UTC, as servers write them; else in the zone of the browser. */
export const utc = signal(localStorage.getItem(stored) === 'utc')

export function nextZone() {
  utc.value = !utc.value
  localStorage.setItem(stored, utc.value ? 'utc' : 'local')
}

/** The zone of the times that are shown, as UTC+2. */
export function zone(): string {
  const minutes = utc.value ? 0 : -new Date().getTimezoneOffset()
  if (minutes === 0) return 'UTC'
  const rest = Math.abs(minutes) % 60
  return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(Math.abs(minutes) / 60)}${rest ? `:${pad(rest)}` : ''}`
}

/** The parts of a time in the zone that is shown: each getter reads them as UTC. */
export const zoned = (time: string | number) => {
  const d = new Date(time)
  return utc.value ? d : new Date(d.getTime() - d.getTimezoneOffset() * 60_000)
}

const iso = (time: string) => {
  const d = zoned(time)
  return isNaN(d.getTime()) ? '–' : d.toISOString()
}

export const clock = (time: string) => iso(time).slice(11, 23)

/** A day and a time, as 2026-01-02 15:04. */
export const stamp = (time: string) => iso(time).slice(0, 16).replace('T', ' ')

export function ago(time: string): string {
  const s = (Date.now() - new Date(time).getTime()) / 1000
  return s < -1 ? `in ${span(-s)}` : `${span(Math.max(0, s))} ago`
}

export function span(s: number): string {
  if (s < 60) return `${Math.floor(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86400) return `${Math.floor(s / 3600)} h`
  return `${Math.floor(s / 86400)} d`
}

/** Reads a size of the API, such as 256MiB, as bytes. */
export function bytes(text: string): number {
  const m = /^([\d.]+)(KiB|MiB|GiB|B)?$/.exec(text)
  const units: Record<string, number> = { B: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824 }
  return m ? Number(m[1]) * units[m[2] ?? 'B'] : 0
}

export function size(n: number): string {
  if (n < 1024) return `${n} B`
  if (n < 1048576) return `${(n / 1024).toFixed(n < 10240 && n % 1024 ? 1 : 0)} KiB`
  if (n < 1073741824) return `${(n / 1048576).toFixed(n < 10485760 && n % 1048576 ? 1 : 0)} MiB`
  return `${Number((n / 1073741824).toFixed(1))} GiB`
}

/** Nanoseconds since 1970 of a time with nine digits, which Date cuts off. As BigInt: it is over 2^53. */
export function nanos(time: string): bigint {
  const digits = (/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(9, '0').slice(0, 9)
  return BigInt(Math.floor(new Date(time).getTime() / 1000)) * 1_000_000_000n + BigInt(digits)
}

/** The time of so many nanoseconds since 1970. */
export function fromNanos(ns: bigint): string {
  const s = new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19)
  return `${s}.${String(ns % 1_000_000_000n).padStart(9, '0')}Z`
}

/** JSON on one line, cut. */
export function short(value: unknown, most = 80): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? ''
  return text.length > most ? `${text.slice(0, most)}…` : text
}

export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
