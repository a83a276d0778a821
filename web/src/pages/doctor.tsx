import { useData } from '../data'
import { bytes, count, size } from '../format'
import { Load, Page, Stat, Table, Tag } from '../parts'
import type { Isolation, NodeStatus } from '../types'

interface Report { isolation: Isolation; runtimes: { runtime: string; ok: boolean; problem?: string }[] }

/** What the machine can run and isolate, and why not; and how the node itself fares. */
export function Doctor() {
  const report = useData<Report>('/v1/doctor')
  const node = useData<NodeStatus>('/v1/node', 5000)
  const telemetry = useData<Record<string, unknown>>('/v1/telemetry', 5000)
  const n = node.value
  return (
    <Page title="Doctor" tags={report.value && <Tag kind={report.value.isolation.name === 'full' ? 'good' : 'bad'}>isolation: {report.value.isolation.name}</Tag>}>
      {n && <dl class="stats"><Stat name="Version">{n.version}</Stat><Stat name="Memory">{size(bytes(n.memory))}</Stat><Stat name="Gateway"><a href={n.gateway} target="_blank" rel="noreferrer">{n.gateway.replace('http://', '')}</a></Stat><Stat name="S3">{n.s3.replace('http://', '')}</Stat><Stat name="Mode">{n.dev ? 'development' : 'production'}</Stat></dl>}
      <Load from={report}>{(r) => (
        <>
          <Table label="Walls around each instance" head={Object.keys(r.isolation.missing ?? {}).length ? ['Wall', 'In force', 'Why not'] : ['Wall', 'In force']}>
            {r.isolation.walls.map((w) => <tr key={w}><td>{w}</td><td><Tag kind="good">yes</Tag></td>{Object.keys(r.isolation.missing ?? {}).length > 0 && <td />}</tr>)}
            {Object.entries(r.isolation.missing ?? {}).map(([w, why]) => <tr key={w}><td>{w}</td><td><Tag kind="bad">no</Tag></td><td class="wrap">{why}</td></tr>)}
          </Table>
          <Table label="Runtimes" head={['Runtime', 'Works', 'What to do']}>
            {r.runtimes.map((x) => <tr key={x.runtime}><td>{x.runtime}</td><td><Tag kind={x.ok ? 'good' : 'warn'}>{x.ok ? 'yes' : 'no'}</Tag></td><td class="wrap">{x.problem}</td></tr>)}
          </Table>
        </>
      )}</Load>
      <Load from={telemetry}>{(t) => (
        <Table label="The telemetry store" head={['Figure', ['Value', 'number']]}>
          {flat(t).map(([k, v]) => <tr key={k}><td>{k}</td><td class="number">{typeof v === 'number' ? (/bytes/.test(k) ? size(v) : count(v)) : String(v)}</td></tr>)}
        </Table>
      )}</Load>
    </Page>
  )
}

function flat(x: Record<string, unknown>, above = ''): [string, unknown][] {
  return Object.entries(x).flatMap(([k, v]): [string, unknown][] => {
    const name = (above ? `${above}, ` : '') + k.replaceAll('_', ' ')
    return v && typeof v === 'object' && !Array.isArray(v) ? flat(v as Record<string, unknown>, name) : [[name, v]]
  })
}
