import { useEffect, useState } from 'preact/hooks'
import { request } from '../api'
import { Nothing } from '../parts'

interface FunctionInfo {
  app: string
  name: string
  live: { version: number }
  spec: { runtime: string }
}

export function Overview() {
  const [list, setList] = useState<FunctionInfo[]>()
  useEffect(() => {
    void request<{ functions: FunctionInfo[] }>('GET', '/v1/functions').then((r) => setList(r.functions))
  }, [])
  if (!list) return <p>Loading…</p>
  if (list.length === 0) return <Nothing title="No functions yet">Deploy an app: <code>mayfly deploy DIR</code></Nothing>
  return (
    <table>
      <caption>Functions</caption>
      <thead><tr><th>App</th><th>Function</th><th>Runtime</th><th>Version</th></tr></thead>
      <tbody>{list.map((f) => <tr key={f.app + f.name}><td>{f.app}</td><td>{f.name}</td><td>{f.spec.runtime}</td><td>{f.live.version}</td></tr>)}</tbody>
    </table>
  )
}
