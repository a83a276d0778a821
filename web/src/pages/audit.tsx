import { query, useData } from '../data'
import { ago, count, stamp } from '../format'
import { AppFilter, Filter, Filters, FunctionFilter, Load, Nothing, Page, Tag } from '../parts'
import { param } from '../router'
import { VirtualTable } from '../virtual'

interface Decision { from: string; to: string; count: number; who: string; user?: string; caller_app?: string; function?: string; app?: string; verb: string; kind: string; name: string; allowed: boolean; grant?: string; reason?: string }

const kinds = ['bucket', 'kv', 'database', 'secret', 'queue', 'topic', 'function', 'telemetry']

/** Who was allowed and who was refused what, and by which line. */
export function Audit() {
  const list = useData<{ decisions: Decision[] }>(`/v1/audit${query({ app: param('app'), function: param('function'), kind: param('kind'), refused: param('only') === 'refused', limit: 1000 })}`, 5000)
  return (
    <Page title="Audit" aside={<Filters>
      <FunctionFilter placeholder="who asked" /><AppFilter placeholder="whose resource" />
      <Filter name="kind" label="Kind" any="all" options={kinds} /><Filter name="only" label="Only" any="all" options={['refused']} />
    </Filters>}>
      <Load from={list}>{({ decisions }) => decisions.length === 0
        ? <Nothing title="No decisions" icon="audit">Each time somebody asks for a resource, what was decided is kept here for 30 days, and the <code>allow:</code> line that decided it.</Nothing>
        : <VirtualTable label="Decisions, the newest first" total={decisions.length} row={(i) => decisions[i]} head={['Last', 'Who', 'Wanted to', 'Of', 'Decided', 'By', ['Times', 'number']]} render={(d) => (
            <>
              <td title={`${stamp(d.from)} to ${stamp(d.to)}`}>{ago(d.to)}</td>
              <td>{d.function ? <a href={`/functions/${d.caller_app}/${d.function}`}>{d.caller_app}/{d.function}</a> : d.user ?? d.who}</td>
              <td>{d.verb} <code>{d.kind}/{d.name}</code></td><td>{d.app}</td>
              <td><Tag kind={d.allowed ? 'good' : 'bad'}>{d.allowed ? 'allowed' : 'refused'}</Tag></td>
              <td class="cell" title={d.reason}>{d.grant ? <code>{d.grant}</code> : <span class="quiet">{d.reason}</span>}</td><td class="number">{count(d.count)}</td>
            </>
          )} />}</Load>
    </Page>
  )
}
