// Drives the console in a headless Chromium against a real node with an app of
// its own. Screenshots go to the folder in SCREENSHOTS, where it is set.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'

const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = browserPath ? false : 'Chromium is not on this machine'
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const dir = mkdtempSync(join(tmpdir(), 'mayfly-console-'))
let node, ready, browser, page

const manifest = `
app: shop
kv: {carts: {}}
queues: {mail: {attempts: 1}}
buckets: {uploads: {}}
databases: {main: {engine: sqlite, migrations: ./migrations}}
topics: {order.created: {}}
functions:
  hello:
    runtime: node
    source: ./src
    handler: index.handler
    on: [{http: "GET /hello"}, {schedule: "0 3 * * *"}]
  failing:
    runtime: node
    source: ./src
    handler: index.failing
    on: [{queue: mail}, {topic: order.created}]
`
const code = `
exports.handler = async (event) => { console.log('hello from the console test'); return { ok: true } }
exports.failing = async () => { throw new Error('no mail today') }
`

before(async () => {
  if (skip) return
  const binary = join(dir, 'mayfly')
  execFileSync('go', ['build', '-o', binary, '../cmd/mayfly'], { env: { ...process.env, CGO_ENABLED: '0' }, stdio: 'inherit' })
  const app = join(dir, 'app')
  mkdirSync(join(app, 'src'), { recursive: true })
  writeFileSync(join(app, 'mayfly.yaml'), manifest)
  writeFileSync(join(app, 'src', 'index.js'), code)
  mkdirSync(join(app, 'migrations'))
  writeFileSync(join(app, 'migrations', '001_orders.sql'), "create table orders (id integer primary key, what text); insert into orders (what) values ('a chair');")
  const file = join(dir, 'ready.json')
  const any = '127.0.0.1:0'
  node = spawn(binary, ['dev', app, '--data', join(dir, 'data'), '--gateway', any, '--api', any, '--s3', any, '--ready-file', file], { stdio: 'ignore' })
  for (let i = 0; i < 1200 && !existsSync(file); i++) await new Promise((r) => setTimeout(r, 50))
  ready = JSON.parse(readFileSync(file, 'utf8'))
  for (let i = 0; i < 5; i++) assert.equal((await fetch(`${ready.gateway}/hello`)).status, 200)
  const sent = await api('POST', '/v1/apps/shop/queues/mail/messages', { body: { n: 1 } })
  assert.ok(sent.ok, await sent.text())
  browser = await chromium.launch({
    executablePath: browserPath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  page.on('pageerror', (err) => console.error('page error:', err.stack))
}, { timeout: 240_000 })

after(async () => {
  await browser?.close()
  if (node) {
    const ended = new Promise((r) => node.once('exit', r))
    node.kill('SIGINT')
    await ended
  }
  rmSync(dir, { recursive: true, force: true })
})

const api = (method, path, body) => fetch(ready.api + path, {
  method, headers: { Authorization: `Bearer ${ready.token}`, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
})

async function look(name) {
  if (process.env.SCREENSHOTS) {
    mkdirSync(process.env.SCREENSHOTS, { recursive: true })
  }
  // The policy of the page lets no script in from outside, so that axe comes in
  // over the debugger.
  await page.evaluate(axe)
  for (const theme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme: theme })
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}-${theme}.png`) })
    const { violations } = await page.evaluate(() => window.axe.run())
    assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), [], `accessibility of ${name} in ${theme}`)
  }
}

test('a wrong token is refused, the right one lets in', { skip }, async () => {
  await page.goto(ready.console)
  const paint = await page.evaluate(() => new Promise((done) => {
    new PerformanceObserver((list) => list.getEntriesByName('first-contentful-paint').forEach((e) => done(e.startTime))).observe({ type: 'paint', buffered: true })
  }))
  console.log(`first contentful paint: ${paint} ms`)
  await look('signin')
  await page.fill('#token', 'nonsense')
  await page.click('text=Sign in')
  await page.waitForSelector('[role=alert]:not(:empty)')
  await page.fill('#token', ready.token)
  await page.click('button:has-text("Sign in")')
  await page.waitForSelector('text=shop/hello')
  await look('overview')
})

test('the page of a function calls it', { skip }, async () => {
  await page.click('a:has-text("shop/hello")')
  await page.waitForSelector('text=Call it')
  await page.click('button:has-text("Call")')
  await page.waitForSelector('pre:has-text("ok")')
  await look('function')
})

test('a call leads to its trace and its lines', { skip }, async () => {
  await page.goto(`${ready.console}traces`)
  await page.click('td a >> nth=0')
  await page.waitForSelector('.waterfall li')
  await look('trace')
  await page.goto(`${ready.console}logs?text=console+test&since=1h`)
  await page.waitForSelector('text=hello from the console test')
  await look('logs')
})

test('a dead letter is shown with its reason and redriven', { skip }, async () => {
  await page.goto(`${ready.console}dead`)
  await page.waitForSelector('text=no mail today', { timeout: 60_000 })
  await look('dead')
  await page.click('button:has-text("Redrive") >> nth=1')
})

test('every page shows itself, and is accessible', { skip }, async () => {
  for (const name of ['live', 'map', 'explore', 'queues', 'queues/shop/mail', 'topics', 'topics/shop/order.created', 'schedules', 'data', 'data/shop/kv/carts', 'data/shop/bucket/uploads', 'data/shop/sql/main', 'secrets', 'deploys', 'alerts', 'cost', 'doctor']) {
    await page.goto(ready.console + name)
    await page.waitForSelector('h1')
    await page.waitForSelector('[aria-busy]', { state: 'detached' })
    assert.equal(await page.locator('.problem:not(:empty)').count(), 0, `${name} shows a problem`)
    await look(name.replaceAll('/', '-'))
  }
})

test('a table of a database is opened', { skip }, async () => {
  await page.goto(`${ready.console}data/shop/sql/main`)
  await page.click('button:has-text("orders")')
  await page.waitForSelector('td:has-text("a chair")')
  await look('sql')
})

test('an event is published and shown', { skip }, async () => {
  await page.goto(`${ready.console}topics/shop/order.created`)
  await page.fill('#data', '{"n": 42}')
  await page.click('button:has-text("Publish")')
  await page.waitForSelector('td:has-text("42")')
  await look('topic')
})

test('a silence is made and ended', { skip }, async () => {
  await page.goto(`${ready.console}alerts`)
  await page.fill('#match', 'app=shop')
  await page.click('button:text-is("Silence")')
  await page.waitForSelector('td:has-text("app=shop")')
  await page.click('button:has-text("End")')
  await page.waitForSelector('text=Every alert is told.')
})

test('a function is found by a part of its name', { skip }, async () => {
  await page.goto(`${ready.console}?find=fail`)
  await page.waitForSelector('td:has-text("shop/failing")')
  assert.equal(await page.locator('td:has-text("shop/hello")').count(), 0)
})

test('keys lead from page to page', { skip }, async () => {
  await page.goto(ready.console)
  await page.waitForSelector('h1')
  await page.keyboard.press('g')
  await page.keyboard.press('q')
  await page.waitForSelector('h1:has-text("Queues")')
})
