import { request } from '../api'
import { useData } from '../data'
import { ago, stamp } from '../format'
import { Action, Load, Table } from '../parts'
import { ByApp } from './apps'

interface Schedule { function: string; name: string; schedule: string; timezone?: string; missed: string; last?: string; next: string[] }

/** When what is called, and what was missed. */
export function Schedules() {
  return (
    <ByApp title="Schedules" icon="schedule" kinds={['schedule']} empty="No schedules" code={'on:\n  - schedule: "0 3 * * *"\n    timezone: Europe/Zurich'}
      teach={<>A schedule calls a function by the clock: cron, <code>every 5m</code>, or once at a time. Add one to a function in <code>mayfly.yaml</code>:</>}>
      {(app) => <AppSchedules app={app.name} />}
    </ByApp>
  )
}

function AppSchedules(props: { app: string }) {
  const base = `/v1/apps/${props.app}/schedules`
  const list = useData<{ schedules: Schedule[] }>(base, 5000)
  return <Load from={list}>{({ schedules }) => (
    <Table label={props.app} head={['Function', ['Schedule', '', '12rem'], ['Zone', '', '10rem'], ['What was missed', '', '9rem'], ['Next', '', '15rem'], 'Then', ['', '', '6.5rem']]}>
      {schedules.map((s) => (
        <tr key={s.function + s.name + s.schedule}>
          <td class="cell" title={s.function}><a href={`/functions/${props.app}/${s.function}`}>{s.function}</a>{s.name && <span class="quiet"> {s.name}</span>}</td><td><code>{s.schedule}</code></td><td>{s.timezone ?? 'UTC'}</td><td>{s.missed}</td>
          <td>{s.next[0] ? <>{stamp(s.next[0])} <span class="quiet">{ago(s.next[0])}</span></> : 'never again'}</td>
          <td class="quiet cell">{s.next.slice(1, 3).map(stamp).join(', ')}</td>
          <td class="does"><Action run={() => request('POST', `${base}/run`, { function: s.function, name: s.name || s.schedule })} said={`${s.function} is called now`} label={`Run now: ${s.function}`}>Run now</Action></td>
        </tr>
      ))}
    </Table>
  )}</Load>
}
