// The frame of every page: sign-in, navigation, the page of the path.
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { login, logout, request, token } from './api'
import { Alerts } from './pages/alerts'
import { Deploys } from './pages/apps'
import { CostPage } from './pages/cost'
import { BucketPage, Data, DatabasePage, StorePage } from './pages/data'
import { Doctor } from './pages/doctor'
import { Dead, QueuePage, Queues, Schedules } from './pages/events'
import { Function } from './pages/function'
import { Live } from './pages/invocations'
import { Logs } from './pages/logs'
import { ServiceMap } from './pages/map'
import { Metrics } from './pages/metrics'
import { Overview } from './pages/overview'
import { Secrets } from './pages/secrets'
import { TopicPage, Topics } from './pages/topics'
import { Trace, Traces } from './pages/traces'
import { Nothing } from './parts'
import { go, location, match, onClick } from './router'

type Params = Record<string, string>

// A page with a key is in the navigation; "g" and the key go there.
const pages: { path: string; title: string; key?: string; show: (p: Params) => JSX.Element }[] = [
  { path: '/', title: 'Overview', key: 'o', show: () => <Overview /> },
  { path: '/live', title: 'Live calls', key: 'i', show: () => <Live /> },
  { path: '/logs', title: 'Logs', key: 'l', show: () => <Logs /> },
  { path: '/traces', title: 'Traces', key: 't', show: () => <Traces /> },
  { path: '/map', title: 'Service map', key: 's', show: () => <ServiceMap /> },
  { path: '/explore', title: 'Metrics', key: 'm', show: () => <Metrics /> },
  { path: '/queues', title: 'Queues', key: 'q', show: () => <Queues /> },
  { path: '/topics', title: 'Topics', key: 'e', show: () => <Topics /> },
  { path: '/dead', title: 'Dead letters', key: 'x', show: () => <Dead /> },
  { path: '/schedules', title: 'Schedules', key: 'c', show: () => <Schedules /> },
  { path: '/data', title: 'Data', key: 'd', show: () => <Data /> },
  { path: '/secrets', title: 'Secrets', key: 'k', show: () => <Secrets /> },
  { path: '/deploys', title: 'Deployments', key: 'p', show: () => <Deploys /> },
  { path: '/alerts', title: 'Alerts', key: 'a', show: () => <Alerts /> },
  { path: '/cost', title: 'Cost', key: '$', show: () => <CostPage /> },
  { path: '/doctor', title: 'Doctor', key: 'h', show: () => <Doctor /> },
  { path: '/functions/:app/:name', title: 'Function', show: (p) => <Function app={p.app} name={p.name} /> },
  { path: '/traces/:id', title: 'Trace', show: (p) => <Trace id={p.id} /> },
  { path: '/queues/:app/:name', title: 'Queue', show: (p) => <QueuePage app={p.app} name={p.name} /> },
  { path: '/dead/:app', title: 'Dead letters', show: (p) => <Dead app={p.app} /> },
  { path: '/data/:app/kv/:name', title: 'Store', show: (p) => <StorePage app={p.app} name={p.name} /> },
  { path: '/topics/:app/:name', title: 'Topic', show: (p) => <TopicPage app={p.app} name={p.name} /> },
  { path: '/data/:app/sql/:name', title: 'Database', show: (p) => <DatabasePage app={p.app} name={p.name} /> },
  { path: '/data/:app/bucket/:name', title: 'Bucket', show: (p) => <BucketPage app={p.app} name={p.name} /> },
]

export function App() {
  useKeys()
  if (!token.value) return <SignIn />
  const path = location.value.pathname
  const found = pages.map((page) => ({ page, params: match(page.path, path) })).find((x) => x.params)
  document.title = `${found?.page.title ?? 'Nothing here'} · Mayfly`
  return (
    <div class="frame" onClick={onClick}>
      <a class="skip" href="#main">Skip to the page</a>
      <nav aria-label="Pages">
        <a class="brand" href="/">Mayfly</a>
        {pages.filter((p) => p.key).map((p) => <a key={p.path} href={p.path} aria-current={p.path === path ? 'page' : undefined} title={`g ${p.key}`}>{p.title}</a>)}
        <button onClick={logout}>Sign out</button>
      </nav>
      <main id="main" tabIndex={-1} key={path}>{found ? found.page.show(found.params!) : <Nothing title="No such page">There is nothing at {path}.</Nothing>}</main>
    </div>
  )
}

/** "g" and a page's key go to the page; "/" goes to its first filter. */
function useKeys() {
  useEffect(() => {
    let leader = 0
    const onKey = (ev: KeyboardEvent) => {
      const typing = (ev.target as Element).matches('input, textarea, select')
      if (typing || ev.metaKey || ev.ctrlKey || ev.altKey) return
      if (ev.key === '/') {
        document.querySelector<HTMLElement>('.filters input, .filters select')?.focus()
        ev.preventDefault()
      } else if (ev.key === 'g') leader = Date.now()
      else if (Date.now() - leader < 1500) {
        const page = pages.find((p) => p.key === ev.key)
        if (page) go(page.path)
      }
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [])
}

function SignIn() {
  const [problem, setProblem] = useState('')
  async function submit(ev: SubmitEvent) {
    ev.preventDefault()
    const value = String(new FormData(ev.target as HTMLFormElement).get('token')).trim()
    try {
      await request('GET', '/v1/node', undefined, undefined, value)
      login(value)
    } catch (err) {
      setProblem((err as Error).message)
    }
  }
  return (
    <main class="signin">
      <h1>Mayfly</h1>
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="current-password" required />
        <button>Sign in</button>
        <p role="alert" class="problem">{problem}</p>
      </form>
      <p class="quiet">The token is in <code>profile.json</code> in the node's data folder, and in the file that <code>--ready-file</code> names.</p>
    </main>
  )
}
