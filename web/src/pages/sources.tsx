import { useData } from '../data'
import { ago, count } from '../format'
import { Load, Table, Tag } from '../parts'
import { ByApp } from './apps'

interface Source { function: string; kind: string; of: string; server?: string; status: string; since: string; error?: string; retry?: string; accepted: number; refused: number; last?: string }

/** How the servers outside fare that functions take messages from. */
export function Sources() {
  return (
    <ByApp title="Sources" icon="source" kinds={['source']} empty="No servers outside" code={'on:\n  - kafka: payments\n    url: kafka://broker.example.com:9092'}
      teach={<>Functions also take messages of NATS, MQTT, Kafka, AMQP and PostgreSQL servers. Name one in a function’s <code>on:</code>, and how its connection fares is shown here:</>}>
      {(app) => <AppSources app={app.name} />}
    </ByApp>
  )
}

function AppSources(props: { app: string }) {
  const list = useData<{ sources: Source[] }>(`/v1/apps/${props.app}/sources`, 3000)
  return <Load from={list}>{({ sources }) => (
    <Table label={props.app} head={['Function', 'Kind', 'Of', 'Server', 'State', 'Since', ['Accepted', 'number'], ['Refused', 'number'], 'Last message', 'Why']}>
      {sources.map((s) => (
        <tr key={s.function + s.kind + s.of}>
          <td><a href={`/functions/${props.app}/${s.function}`}>{s.function}</a></td><td>{s.kind}</td><td><code>{s.of}</code></td><td>{s.server}</td>
          <td><Tag kind={s.status === 'connected' ? 'good' : s.error ? 'bad' : 'warn'}>{s.status}</Tag></td><td>{ago(s.since)}</td>
          <td class="number">{count(s.accepted)}</td><td class={s.refused ? 'number bad' : 'number'}>{count(s.refused)}</td><td>{s.last ? ago(s.last) : <span class="quiet">none</span>}</td>
          <td class="wrap">{s.error}{s.retry && <span class="quiet"> tried again {ago(s.retry)}</span>}</td>
        </tr>
      ))}
    </Table>
  )}</Load>
}
