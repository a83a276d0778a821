import { useData } from '../data'
import { Load, Page, Table } from '../parts'
import type { Isolation } from '../types'

interface Report { isolation: Isolation; runtimes: { runtime: string; ok: boolean; problem?: string }[] }

/** What the machine can run and isolate, and why not. */
export function Doctor() {
  const report = useData<Report>('/v1/doctor')
  return (
    <Page title="Doctor">
      <Load from={report}>{(r) => (
        <>
          <p>Isolation is <strong>{r.isolation.name}</strong>.</p>
          <Table label="Walls" head={['Wall', 'In force', 'Why not']}>
            {r.isolation.walls.map((w) => <tr key={w}><td>{w}</td><td><span class="tag good">yes</span></td><td /></tr>)}
            {Object.entries(r.isolation.missing ?? {}).map(([w, why]) => <tr key={w}><td>{w}</td><td><span class="tag bad">no</span></td><td>{why}</td></tr>)}
          </Table>
          <Table label="Runtimes" head={['Runtime', 'Works', 'What to do']}>
            {r.runtimes.map((x) => <tr key={x.runtime}><td>{x.runtime}</td><td><span class={x.ok ? 'tag good' : 'tag bad'}>{x.ok ? 'yes' : 'no'}</span></td><td>{x.problem}</td></tr>)}
          </Table>
        </>
      )}</Load>
    </Page>
  )
}
