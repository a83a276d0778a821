// Numbers and times for people.

export function duration(ns: number): string {
  const ms = ns / 1e6
  if (ms < 0.1) return `${(ns / 1e3).toFixed(0)} µs`
  if (ms < 10) return `${ms.toFixed(2)} ms`
  if (ms < 1000) return `${ms.toFixed(0)} ms`
  return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 0)} s`
}

export function percent(share: number): string {
  if (share === 0) return '0 %'
  return share < 0.001 ? '< 0.1 %' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return '0'
  return perSecond >= 1 ? `${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s` : `${(perSecond * 60).toFixed(1)}/min`
}

export function clock(time: string): string {
  const d = new Date(time)
  const pad = (n: number, width = 2) => String(n).padStart(width, '0')
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}.${pad(d.getMilliseconds(), 3)}`
}

export function ago(time: string): string {
  const s = Math.max(0, (Date.now() - new Date(time).getTime()) / 1000)
  if (s < 60) return `${Math.floor(s)} s ago`
  if (s < 3600) return `${Math.floor(s / 60)} min ago`
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`
  return `${Math.floor(s / 86400)} d ago`
}

/** Reads a size of the API, such as 256MiB, as bytes. */
export function bytes(text: string): number {
  const m = /^([\d.]+)(KiB|MiB|GiB|B)?$/.exec(text)
  const units: Record<string, number> = { B: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824 }
  return m ? Number(m[1]) * units[m[2] ?? 'B'] : 0
}

export function size(n: number): string {
  if (n < 1024) return `${n} B`
  if (n < 1048576) return `${(n / 1024).toFixed(0)} KiB`
  if (n < 1073741824) return `${(n / 1048576).toFixed(0)} MiB`
  return `${(n / 1073741824).toFixed(1)} GiB`
}
