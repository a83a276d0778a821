// The frame of every page: sign-in, navigation, the page of the path.
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useErrorBoundary, useRef, useState } from 'preact/hooks'
import { comebacks, ended, login, logout, lost, request, token } from './api'
import { useData, useTick } from './data'
import { Dialogs, say } from './dialogs'
import { nextZone, span, utc, zone } from './format'
import { Icon } from './icons'
import { Keyboard, openHelp, openPalette, type Place, useKeys } from './keys'
import { Alerts } from './pages/alerts'
import { Audit } from './pages/audit'
import { CostPage } from './pages/cost'
import { BucketPage } from './pages/bucket'
import { Data } from './pages/data'
import { DeployPage, Deploys } from './pages/deploys'
import { Doctor } from './pages/doctor'
import { Dead } from './pages/dead'
import { Function } from './pages/function'
import { Live } from './pages/invocations'
import { Logs } from './pages/logs'
import { ServiceMap } from './pages/map'
import { Metrics } from './pages/metrics'
import { Overview } from './pages/overview'
import { QueuePage, Queues } from './pages/queues'
import { Schedules } from './pages/schedules'
import { Secrets } from './pages/secrets'
import { Sources } from './pages/sources'
import { DatabasePage } from './pages/sql'
import { StorePage } from './pages/kv'
import { TopicPage, Topics } from './pages/topics'
import { Trace, Traces } from './pages/traces'
import { Nothing } from './parts'
import { location, match, onClick } from './router'
import { nextTheme, theme } from './theme'

type Params = Record<string, string>
interface Route extends Place { group?: string; show: (p: Params) => JSX.Element }

// A page with a key is in the navigation, in its group; "g" and the key go there.
const pages: Route[] = [
  { path: '/', title: 'Functions', key: 'o', icon: 'overview', group: '', show: () => <Overview /> },
  { path: '/deploys', title: 'Deployments', key: 'p', icon: 'deploy', group: '', show: () => <Deploys /> },
  { path: '/live', title: 'Live calls', key: 'i', icon: 'live', group: 'Observe', show: () => <Live /> },
  { path: '/logs', title: 'Logs', key: 'l', icon: 'logs', group: 'Observe', show: () => <Logs /> },
  { path: '/traces', title: 'Traces', key: 't', icon: 'traces', group: 'Observe', show: () => <Traces /> },
  { path: '/map', title: 'Service map', key: 's', icon: 'map', group: 'Observe', show: () => <ServiceMap /> },
  { path: '/explore', title: 'Metrics', key: 'm', icon: 'metrics', group: 'Observe', show: () => <Metrics /> },
  { path: '/alerts', title: 'Alerts', key: 'a', icon: 'alert', group: 'Observe', show: () => <Alerts /> },
  { path: '/queues', title: 'Queues', key: 'q', icon: 'queue', group: 'Events', show: () => <Queues /> },
  { path: '/topics', title: 'Topics', key: 'e', icon: 'topic', group: 'Events', show: () => <Topics /> },
  { path: '/schedules', title: 'Schedules', key: 'c', icon: 'schedule', group: 'Events', show: () => <Schedules /> },
  { path: '/dead', title: 'Dead letters', key: 'x', icon: 'dead', group: 'Events', show: () => <Dead /> },
  { path: '/sources', title: 'Sources', key: 'n', icon: 'source', group: 'Events', show: () => <Sources /> },
  { path: '/data', title: 'Data', key: 'd', icon: 'data', group: 'Resources', show: () => <Data /> },
  { path: '/secrets', title: 'Secrets', key: 'k', icon: 'secret', group: 'Resources', show: () => <Secrets /> },
  { path: '/cost', title: 'Cost', key: '$', icon: 'cost', group: 'Node', show: () => <CostPage /> },
  { path: '/audit', title: 'Audit', key: 'w', icon: 'audit', group: 'Node', show: () => <Audit /> },
  { path: '/doctor', title: 'Doctor', key: 'h', icon: 'doctor', group: 'Node', show: () => <Doctor /> },
  { path: '/functions/:app/:name', title: 'Function', show: (p) => <Function app={p.app} name={p.name} /> },
  { path: '/deploys/:app/:id', title: 'Deployment', show: (p) => <DeployPage app={p.app} id={p.id} /> },
  { path: '/traces/:id', title: 'Trace', show: (p) => <Trace id={p.id} /> },
  { path: '/queues/:app/:name', title: 'Queue', show: (p) => <QueuePage app={p.app} name={p.name} /> },
  { path: '/topics/:app/:name', title: 'Topic', show: (p) => <TopicPage app={p.app} name={p.name} /> },
  { path: '/data/:app/kv/:name', title: 'Store', show: (p) => <StorePage app={p.app} name={p.name} /> },
  { path: '/data/:app/sql/:name', title: 'Database', show: (p) => <DatabasePage app={p.app} name={p.name} /> },
  { path: '/data/:app/bucket/:name', title: 'Bucket', show: (p) => <BucketPage app={p.app} name={p.name} /> },
]
const places = pages.filter((p) => p.key)
const groups = [...new Set(places.map((p) => p.group!))]

export function App() {
  useKeys(places)
  if (!token.value) return <SignIn />
  const path = location.value.pathname
  const found = pages.map((page) => ({ page, params: match(page.path, path) })).find((x) => x.params)
  const title = found && found.params!.name ? `${found.params!.app}/${found.params!.name}` : found?.page.title ?? 'Nothing here'
  document.title = `${title} · Mayfly`
  return (
    <div class="frame" onClick={onClick}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById('main')?.focus() }}>Skip to the page</a>
      <Side path={path} />
      <Arriving path={path} />
      <main id="main" tabIndex={-1} key={path}><Unbroken>{found ? found.page.show(found.params!) : <Nothing title="No such page" icon="search">There is nothing at {path}.</Nothing>}</Unbroken></main>
      <Keyboard places={places} />
      <Connection />
      <Dialogs />
    </div>
  )
}

/** A page, or why it could not be drawn, as where the node is of another version than the console of this tab. */
function Unbroken(props: { children: ComponentChildren }) {
  const [error] = useErrorBoundary((err: Error) => console.error(err))
  if (!error) return <>{props.children}</>
  return (
    <section class="nothing" role="alert">
      <h1>This page broke</h1>
      <p>The node may have been updated since this tab was opened. The other pages go on. <code>{(error as Error).message}</code></p>
      <button class="primary" onClick={() => window.location.reload()}>Load it again</button>
    </section>
  )
}

/** Brings who goes to another page to its begin: readers and the keyboard too. */
function Arriving(props: { path: string }) {
  const before = useRef(props.path)
  useEffect(() => {
    if (before.current === props.path) return
    before.current = props.path
    window.scrollTo(0, 0)
    document.getElementById('main')?.focus({ preventScroll: true })
  }, [props.path])
  return null
}

/** Says that the node does not answer, and that it does again. */
function Connection() {
  useTick(1000)
  const back = comebacks.value
  useEffect(() => {
    if (back > 0) say('The node answers again; what is shown is up to date')
  }, [back])
  if (!lost.value) return null
  return <p class="lost" role="alert"><b>The node does not answer</b> since {span((Date.now() - lost.value) / 1000)}. What is shown is from before; it is asked again each second.</p>
}

function Side(props: { path: string }) {
  const alerts = useData<{ alerts: { state: string; silenced?: boolean }[] }>('/v1/alerts', 10_000)
  const firing = alerts.value?.alerts.filter((a) => a.state === 'firing' && !a.silenced).length ?? 0
  const [open, setOpen] = useState(false) // on a small screen
  useEffect(() => setOpen(false), [props.path])
  const here = (p: Place) => (p.path === props.path ? 'page' : p.path !== '/' && props.path.startsWith(p.path + '/') ? 'true' : p.path === '/' && props.path.startsWith('/functions/') ? 'true' : undefined)
  return (
    <nav class={open ? 'side open' : 'side'} aria-label="Pages" onKeyDown={(e) => e.key === 'Escape' && setOpen(false)}>
      <a class="brand" href="/"><Logo />Mayfly</a>
      <button class="find" onClick={openPalette}><Icon name="search" />Find<kbd>{/Mac|iP/.test(navigator.platform) ? '⌘' : 'Ctrl'} K</kbd></button>
      <button class="menu" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name={open ? 'close' : 'menu'} /><span class="hidden">Pages</span>{firing > 0 && <span class="badge">{firing}<span class="hidden"> alerts fire</span></span>}</button>
      {groups.map((group) => (
        <div key={group} class="group">
          {group && <h2>{group}</h2>}
          {places.filter((p) => p.group === group).map((p) => (
            <a key={p.path} href={p.path} aria-current={here(p)} title={`g ${p.key}`}>
              <Icon name={p.icon!} />{p.title}{p.path === '/alerts' && firing > 0 && <span class="badge" aria-label={`${firing} firing`}>{firing}</span>}
            </a>
          ))}
        </div>
      ))}
      <div class="foot">
        <button class="plain" onClick={nextTheme} aria-label={`Theme: ${theme.value}`} title={`Theme: ${theme.value} (T)`}><Icon name={theme.value} /></button>
        <button class="plain zone" onClick={nextZone} title={utc.value ? 'Times are UTC: show those of this browser (Z)' : 'Times are those of this browser: show UTC (Z)'} aria-label={`Times are ${zone()}`}>{zone()}</button>
        <button class="plain" onClick={openHelp} aria-label="Keyboard help" title="Keyboard (?)"><Icon name="keys" /></button>
        <button class="plain" onClick={() => logout()} aria-label="Sign out" title="Sign out"><Icon name="out" /></button>
      </div>
    </nav>
  )
}

function Logo() {
  return <svg class="logo" viewBox="0 0 16 16" aria-hidden="true"><path d="M8 15V6M8 6C6 1 1 1 2 5s6 2 6 1zm0 0c2-5 7-5 6-1s-6 2-6 1z" /></svg>
}

function SignIn() {
  const [problem, setProblem] = useState('')
  async function submit(ev: SubmitEvent) {
    ev.preventDefault()
    const form = new FormData(ev.target as HTMLFormElement)
    const value = String(form.get('token')).trim()
    setProblem('')
    try {
      await request('GET', '/v1/node', undefined, undefined, value)
      login(value, form.get('stay') !== null)
    } catch (err) {
      setProblem((err as Error).message)
    }
  }
  document.title = 'Sign in · Mayfly'
  return (
    <main class="signin">
      <div class="card">
        <h1><Logo />Mayfly</h1>
        <form onSubmit={submit}>
          <label for="token">Token</label>
          <input id="token" name="token" type="password" autocomplete="current-password" required autoFocus />
          <label class="check"><input type="checkbox" name="stay" /> stay signed in on this browser</label>
          <button class="primary">Sign in</button>
          <p role="alert" class="problem">{problem || (ended.value && `You were signed out: ${ended.value}`)}</p>
        </form>
        <p class="quiet"><code>mayfly console</code> prints a link that signs you in. The token itself is in <code>profile.json</code> in the node's data folder.</p>
      </div>
    </main>
  )
}
