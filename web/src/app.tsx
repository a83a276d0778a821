// The frame of every page: sign-in, navigation, the page of the path.
import { useState } from 'preact/hooks'
import { login, request, token } from './api'
import { match, onClick, location } from './router'
import { Overview } from './pages/overview'
import { Nothing } from './parts'

const pages: [pattern: string, title: string, page: (params: Record<string, string>) => preact.JSX.Element][] = [
  ['/', 'Overview', () => <Overview />],
]

export function App() {
  if (!token.value) return <SignIn />
  const path = location.value.pathname
  for (const [pattern, title, page] of pages) {
    const params = match(pattern, path)
    if (!params) continue
    document.title = `${title} · Mayfly`
    return (
      <div class="frame" onClick={onClick}>
        <main id="main" tabIndex={-1}>{page(params)}</main>
      </div>
    )
  }
  return <Nothing title="No such page">There is nothing at {path}.</Nothing>
}

function SignIn() {
  const [problem, setProblem] = useState('')
  async function submit(ev: SubmitEvent) {
    ev.preventDefault()
    login(String(new FormData(ev.target as HTMLFormElement).get('token')).trim())
    try {
      await request('GET', '/v1/node')
    } catch (err) {
      setProblem((err as Error).message)
    }
  }
  return (
    <main class="signin">
      <h1>Mayfly</h1>
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="current-password" required autofocus />
        <button>Sign in</button>
        <p role="alert">{problem}</p>
        <p>The token is in the file <code>profile.json</code> of the node's data folder, and in what <code>--ready-file</code> names.</p>
      </form>
    </main>
  )
}
