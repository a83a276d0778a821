import { useState } from 'preact/hooks'
import { request } from '../api'
import { query, useData } from '../data'
import { ago, plural, short, stamp } from '../format'
import { Action, Filter, Load, Table } from '../parts'
import { param } from '../router'
import { ByApp } from './apps'

interface Letter { id: string; source: string; function?: string; reason: string; error?: string; attempts: number; accepted: string; died: string; trace?: { trace_id?: string }; body: unknown; history?: { at?: string; error?: string }[] }

const most = 500 // letters of one app that are shown
const reasons = ['attempts', 'expired', 'hops', 'rejected']

/** What was given up, why, and back to where it came from. */
export function Dead() {
  return (
    <ByApp title="Dead letters" icon="dead" kinds={null} empty="No dead letters"
      teach={<>What could not be done after all attempts is kept here with its last error, until somebody redrives or drops it.</>}
      filters={<><Filter name="source" label="From" placeholder="queue/jobs" /><Filter name="reason" label="Reason" options={reasons} /><Filter name="text" label="Text" placeholder="in the error or body" /></>}>
      {(app) => <AppDead app={app.name} />}
    </ByApp>
  )
}

function AppDead(props: { app: string }) {
  const base = `/v1/apps/${props.app}/dead-letters`
  const chosen = { source: param('source'), reason: param('reason'), text: param('text') }
  const list = useData<{ dead_letters: Letter[] }>(`${base}${query({ ...chosen, limit: most })}`, 3000)
  const [open, setOpen] = useState('')
  return <Load from={list}>{({ dead_letters: letters }) => letters.length === 0 ? <p class="quiet none">{props.app}: nothing was given up{chosen.source || chosen.reason || chosen.text ? ' that matches' : ''}.</p> : (
    <Table label={props.app} head={[['Died', '', '7rem'], ['From', '', '12rem'], ['Reason', '', '6rem'], 'Error', ['Attempts', 'number', '6rem'], 'Body', ['', '', '13.5rem']]} aside={<>
      <span class="quiet">{letters.length === most ? `the first ${most}` : plural(letters.length, 'letter')}</span>
      <Action run={() => request('POST', `${base}/redrive${query(chosen)}`, {})} done={list.reload} said="Redriven" confirm={letters.length === most ? 'Try all that match again, those that are not shown too?' : `Try all ${letters.length} again?`} label={`Redrive all of ${props.app}`}>Redrive all</Action>
      <Action kind="danger" run={() => request('DELETE', `${base}${query(chosen)}`)} done={list.reload} said="Dropped" confirm={letters.length === most ? 'Drop all that match, those that are not shown too? They are gone for good.' : `Drop all ${letters.length}? They are gone for good.`} label={`Drop all of ${props.app}`}>Drop all</Action>
    </>}>
      {[...letters].sort((a, b) => b.died.localeCompare(a.died)).flatMap((l) => [
        <tr key={l.id}>
          <td title={stamp(l.died)}>{l.trace?.trace_id ? <a href={`/traces/${l.trace.trace_id}`}>{ago(l.died)}</a> : ago(l.died)}</td><td class="cell" title={l.source}>{l.source}</td><td>{l.reason}</td>
          <td class="wrap bad">{short(l.error ?? '', 120)}</td><td class="number">{l.attempts}</td><td class="cell"><code>{short(l.body, 120)}</code></td>
          <td class="does">
            <button aria-expanded={open === l.id} aria-label={`Show ${l.id}`} onClick={() => setOpen(open === l.id ? '' : l.id)}>Show</button>
            <Action run={() => request('POST', `${base}/redrive`, { id: l.id })} done={list.reload} said="It is tried again" label={`Redrive ${l.id}`}>Redrive</Action>
            <Action run={() => request('DELETE', `${base}/${l.id}`)} done={list.reload} said="Dropped" confirm="Drop it? It is gone for good." label={`Drop ${l.id}`}>Drop</Action>
          </td>
        </tr>,
        open === l.id && <tr key={`${l.id} all`}><td colSpan={7}><pre tabIndex={0} aria-label="Letter">{l.error ? `${l.error}\n\n` : ''}{JSON.stringify(l.body, null, 2)}</pre></td></tr>,
      ])}
    </Table>
  )}</Load>
}
