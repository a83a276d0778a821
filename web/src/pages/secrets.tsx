import { useState } from 'preact/hooks'
import { request } from '../api'
import { useData } from '../data'
import { Action, Field, Load, Table, Tag } from '../parts'
import { ByApp } from './apps'

interface Secret { name: string; current: number; pending?: number }

/** The names and versions of secrets. The console writes values and never asks for one. */
export function Secrets() {
  return (
    <ByApp title="Secrets" icon="secret" kinds={null} empty="No secrets" code="mayfly secret set STRIPE_KEY"
      teach={<>Secrets belong to an app, are sealed on the disk, and reach only functions that list them. Deploy an app first, then:</>}>
      {(app) => <AppSecrets app={app.name} />}
    </ByApp>
  )
}

function AppSecrets(props: { app: string }) {
  const base = `/v1/apps/${props.app}/secrets`
  const list = useData<{ secrets: Secret[] }>(base, 5000)
  return <Load from={list}>{({ secrets }) => (
    <Table label={props.app} head={['Secret', ['Current version', 'number', '9rem'], ['Pending', '', '9rem'], ['', '', '7rem']]} aside={<Set base={base} app={props.app} done={list.reload} />}>
      {secrets.length === 0 && <tr><td colSpan={4} class="quiet">No secrets yet. Functions get one by <code>secrets: [NAME]</code>, as an environment variable.</td></tr>}
      {secrets.map((s) => <tr key={s.name}><td><code>{s.name}</code></td><td class="number">{s.current || 'none'}</td><td>{s.pending ? <Tag kind="warn">version {s.pending}</Tag> : ''}</td>
        <td class="does"><Action kind="danger" run={() => request('DELETE', `${base}/${s.name}`)} done={list.reload} said="Deleted" confirm={`Delete ${s.name} with all its versions? Functions that need it will not start.`} label={`Delete ${s.name}`}>Delete</Action></td></tr>)}
    </Table>
  )}</Load>
}

function Set(props: { base: string; app: string; done: () => void }) {
  const [name, setName] = useState('')
  const [value, setValue] = useState('')
  const put = async () => {
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)) throw new Error('Name it as an environment variable: STRIPE_KEY.')
    await request('PUT', `${props.base}/${name}`, { value })
    setName('')
    setValue('')
  }
  return <>
    <Field id={`name-${props.app}`} label="Name" value={name} set={setName} placeholder="STRIPE_KEY" />
    <Field id={`value-${props.app}`} label="Value" value={value} set={setValue} secret />
    <Action run={put} label={`Set a secret of ${props.app}`} done={props.done} said="Set; functions get it with their next start">Set</Action>
  </>
}
