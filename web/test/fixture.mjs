// A real node with an app of its own, and a headless Chromium before it.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { chromium } from 'playwright-core'

const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
export const skip = !browserPath ? 'Chromium is not on this machine' : !runs('python3') ? 'python3 is not on this machine' : false

function runs(program) {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
export const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Where screenshots go: they are part of what a test says, and are not in the repository. */
export const shots = process.env.SCREENSHOTS ?? new URL('./screenshots', import.meta.url).pathname

/** Writes files into a folder, by path. */
export function write(dir, files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
}

export const dir = mkdtempSync(join(tmpdir(), 'mayfly-console-'))

/** The binary, built once for all tests of a process; MAYFLY names one that is there. */
let built
export function binary() {
  if (process.env.MAYFLY) return process.env.MAYFLY
  if (!built) {
    built = join(dir, 'mayfly')
    execFileSync('go', ['build', '-o', built, '../cmd/mayfly'], { cwd: new URL('..', import.meta.url).pathname, env: { ...process.env, CGO_ENABLED: '0' }, stdio: 'inherit' })
  }
  return built
}

/**
 * Starts a node in development with an app, and waits until all of it answers. One
 * that was started before under the name starts again, with what it keeps.
 */
export async function startNode(name, files, { env = process.env, args = [] } = {}) {
  const app = join(dir, name)
  write(app, files)
  const file = join(dir, `${name}.json`)
  rmSync(file, { force: true })
  const any = '127.0.0.1:0'
  const node = spawn(binary(), ['dev', app, '--data', join(dir, `${name}-data`), '--gateway', any, '--api', any, '--s3', any, '--ready-file', file, ...args], { stdio: 'ignore', env })
  process.once('exit', () => node.kill('SIGINT')) // also where a test is broken off
  const ended = new Promise((done) => node.once('exit', done))
  let over = false
  void ended.then(() => (over = true))
  for (let i = 0; i < 3600 && !existsSync(file) && !over; i++) await new Promise((r) => setTimeout(r, 50))
  assert.ok(existsSync(file), `node ${name} is not ready`)
  const ready = JSON.parse(readFileSync(file, 'utf8'))
  const api = (method, path, body, headers) => fetch(ready.api + path, {
    method, headers: { Authorization: `Bearer ${ready.token}`, 'Content-Type': 'application/json', ...headers }, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
  })
  const stop = async () => {
    node.kill('SIGINT')
    await ended
  }
  return { ...ready, app, api, stop }
}

/** An address that stays while the node behind it is started again at another. */
export async function startFront() {
  const front = { to: '' }
  const sockets = new Set()
  const server = createServer((from) => {
    const url = new URL(front.to || 'http://127.0.0.1:1')
    const to = connect(Number(url.port), url.hostname)
    for (const s of [from, to]) {
      sockets.add(s)
      s.on('error', () => {}).on('close', () => { sockets.delete(s); from.destroy(); to.destroy() })
    }
    from.pipe(to).pipe(from)
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  front.url = `http://127.0.0.1:${server.address().port}/`
  front.close = () => {
    for (const s of sockets) s.destroy()
    server.close()
  }
  return front
}

export const startBrowser = () => chromium.launch({
  executablePath: browserPath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})

/** Waits until something is true, however busy the machine is. */
export async function until(what, check) {
  for (let i = 0; i < 600; i++) {
    if (await check()) return
    await new Promise((r) => setTimeout(r, 100))
  }
  assert.fail(`never: ${what}`)
}

/** Signs in without the form. */
export const signIn = (page, node) => page.addInitScript((token) => sessionStorage.setItem('mayfly.token', token), node.token)

/** Keeps a screenshot of a page in both themes, and holds it against axe in both, with all of its rules. */
export async function look(page, name, { full = false } = {}) {
  mkdirSync(shots, { recursive: true })
  // The policy of the page lets no script in from outside, so that axe comes in
  // over the debugger.
  await page.evaluate(axe)
  for (const theme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme: theme })
    await page.screenshot({ path: join(shots, `${name}-${theme}.png`), fullPage: full })
    const violations = await page.evaluate(every)
    assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), [], `accessibility of ${name} in ${theme}`)
  }
}

/** What axe has against the page: experimental rules and those of every level too, which it leaves out by itself. */
const every = () => window.axe.run(document, {
  runOnly: window.axe.getRules().map((r) => r.ruleId).filter((id) => id !== 'color-contrast-enhanced'), // 7:1 is for texts that are read for long
}).then((r) => r.violations)

process.once('SIGTERM', () => process.exit(1))

export const cleanUp = () => rmSync(dir, { recursive: true, force: true })
