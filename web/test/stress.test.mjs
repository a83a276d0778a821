// The console when things go wrong, on small screens, by the keyboard, and in
// other zones of time.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { cleanUp, look, signIn, skip, startBrowser, startFront, startNode, until } from './fixture.mjs'

const app = {
  'mayfly.yaml': `
app: inn
queues: {jobs: {attempts: 1}}
functions:
  a-function-with-a-rather-long-name-to-be-told-in-little-room:
    runtime: node
    source: ./src
    handler: index.greet
    on: [{http: "GET /guests/{guest}/rooms/{room}/reservations/{reservation}/confirmation"}]
  poisoned:
    runtime: node
    source: ./src
    handler: index.poisoned
    on: [{queue: jobs}]
`,
  'src/index.js': `
exports.greet = async () => { console.log('a guest came'); return 'welcome' }
exports.poisoned = async () => { throw new Error('poison') }
`,
}
const long = 'a-function-with-a-rather-long-name-to-be-told-in-little-room'
const pages = ['', `functions/inn/${long}`, `functions/inn/${long}?tab=call`, `functions/inn/${long}?tab=versions`, `functions/inn/${long}?tab=spec`, 'deploys', 'live', 'logs', 'logs?since=1h', 'traces', 'map', 'explore', 'alerts',
  'alerts?tab=rules', 'alerts?tab=silences', 'alerts?tab=receivers', 'queues', 'queues/inn/jobs', 'topics', 'schedules', 'dead', 'sources', 'data', 'secrets', 'cost', 'audit', 'doctor']
let node, browser
const broken = []

before(async () => {
  if (skip) return
  node = await startNode('inn', app)
  assert.equal((await fetch(`${node.gateway}/guests/1/rooms/2/reservations/3/confirmation`)).status, 200)
  const sent = await node.api('POST', '/v1/apps/inn/queues/jobs/messages', { body: { bad: true } })
  assert.ok(sent.ok, await sent.text())
  browser = await startBrowser()
}, { timeout: 240_000 })

after(async () => {
  await browser?.close()
  await node?.stop()
  cleanUp()
})

/** A page of a window of its own, which is closed in the end. */
async function within(options, use, as = true) {
  const window = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  const page = await window.newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', (err) => broken.push(err.stack))
  if (as) await signIn(page, node)
  try {
    await use(page)
  } finally {
    await window.close()
  }
}

const open = async (page, path, base = node.console) => {
  await page.goto(base + path)
  await page.waitForSelector('main h1')
  await page.waitForSelector('[aria-busy]', { state: 'detached' })
}

test('a node that is started again is found again, and is read again', { skip }, async () => {
  const front = await startFront()
  try {
    await within({}, async (page) => {
      front.to = node.console
      await open(page, 'doctor', front.url) // what is read once
      const tail = await page.context().newPage()
      tail.setDefaultTimeout(60_000)
      await signIn(tail, node)
      await open(tail, 'logs', front.url) // what is a stream
      await tail.waitForSelector('.line:has-text("a guest came")')
      const had = await tail.locator('.line').count()
      await node.stop()
      await page.waitForSelector('.lost:has-text("does not answer")')
      await look(page, 'lost')
      await page.waitForSelector('td:has-text("system call filter"), td:has-text("closed network")') // what was there stays
      let doctors = 0
      page.on('response', (res) => { if (res.url().endsWith('/v1/doctor') && res.ok()) doctors++ })
      node = await startNode('inn', app)
      front.to = node.console
      await page.waitForSelector('.lost', { state: 'detached' })
      await page.waitForSelector('.said p:has-text("answers again")')
      await until('what is read once was read again', () => doctors > 0)
      await tail.waitForSelector('.lost', { state: 'detached' })
      await fetch(`${node.gateway}/guests/1/rooms/2/reservations/3/confirmation`)
      await tail.waitForFunction((n) => document.querySelectorAll('.line').length > n, had)
      const lines = await tail.locator('.line:has-text("a guest came") time').allTextContents()
      assert.equal(new Set(lines).size, lines.length, `lines are given twice: ${lines}`)
    })
  } finally {
    front.close()
  }
})

test('what the node refuses is said, with what helps', { skip }, () => within({}, async (page) => {
  const refuse = (status, code, detail, headers = {}) => (route) => route.fulfill({ status, headers: { 'Content-Type': 'application/problem+json', ...headers }, body: JSON.stringify({ status, code, detail }) })
  await page.route('**/v1/audit**', refuse(403, 'denied', 'read telemetry/audit is not allowed'))
  await open(page, 'audit')
  await page.waitForSelector('[role=alert]:has-text("is not allowed"):has-text("signed in with")')
  await look(page, 'denied')
  await page.waitForSelector('nav a:has-text("Audit")') // the rest stays usable

  let asked = 0
  await page.route('**/v1/doctor', (route) => (++asked === 1 ? refuse(429, 'throttled', 'too many requests', { 'Retry-After': '1' })(route) : route.continue()))
  await open(page, 'doctor')
  await page.waitForSelector('[role=alert]:has-text("too many requests")')
  await page.waitForSelector('td:has-text("closed network")') // by itself

  await page.route('**/v1/prices', refuse(500, 'internal', 'the ledger is closed'))
  await open(page, 'cost')
  await page.waitForSelector('h1:has-text("Cost")')

  await page.route('**/v1/live**', refuse(403, 'denied', 'read telemetry/invocations is not allowed'))
  await open(page, 'live')
  await page.waitForSelector('[role=alert]:has-text("is not allowed")')
}))

test('a page that cannot be drawn leaves the others', { skip }, () => within({}, async (page) => {
  await page.route('**/v1/cost?*', (route) => route.fulfill({ json: { total: {} } }))
  await page.route('**/v1/cost', (route) => route.fulfill({ json: { total: {} } }))
  await page.goto(`${node.console}cost`)
  await page.waitForSelector('[role=alert]:has-text("This page broke")')
  await look(page, 'broken')
  await page.getByRole('link', { name: 'Queues' }).click()
  await page.waitForSelector('td a:has-text("jobs")')
}))

test('a token that is not taken any more leads to the sign-in, and back to the page', { skip }, () => within({}, async (page) => {
  await page.goto(node.console) // which the token of the tab is for
  await page.waitForSelector('main h1')
  await page.route('**/v1/**', (route) => route.fulfill({ status: 401, headers: { 'Content-Type': 'application/problem+json' }, body: '{"status":401,"code":"unauthorized","detail":"this token is not valid"}' }))
  await page.goto(`${node.console}queues/inn/jobs`)
  await page.waitForSelector('.signin [role=alert]:has-text("this token is not valid")')
  await page.unrouteAll({ behavior: 'wait' })
  await page.fill('#token', node.token)
  await page.click('button:has-text("Sign in")')
  await page.waitForSelector('h1:has-text("jobs")')
}))

test('a link signs in, and its token leaves the address', { skip }, () => within({}, async (page) => {
  await page.goto(`${node.console}queues#token=${encodeURIComponent(node.token)}`)
  await page.waitForSelector('h1:has-text("Queues")')
  assert.equal(page.url(), `${node.console}queues`)
  const other = await page.context().newPage()
  await other.goto(node.console)
  await other.waitForSelector('#token') // other tabs know nothing of it
  await other.check('[name=stay]')
  await other.fill('#token', node.token)
  await other.click('button:has-text("Sign in")')
  await other.waitForSelector('h1:has-text("Functions")')
  const third = await page.context().newPage()
  await third.goto(node.console)
  await third.waitForSelector('h1:has-text("Functions")') // until somebody signs out
  await third.getByRole('button', { name: 'Sign out' }).click()
  await third.reload()
  await third.waitForSelector('#token')
}, false))

for (const [name, options] of [['small', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }], ['middle', { viewport: { width: 1280, height: 800 } }], ['large', { viewport: { width: 1920, height: 1080 } }]]) {
  test(`no page is wider than a ${name} window`, { skip }, () => within(options, async (page) => {
    await page.goto(node.console)
    for (const path of pages) {
      await page.evaluate((path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }, `/${path}`)
      await page.waitForSelector('main h1')
      await page.waitForSelector('[aria-busy]', { state: 'detached' })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      assert.ok(wide <= 0, `/${path} is ${wide} px too wide`)
    }
  }))
}

test('a small screen has all pages behind one button', { skip }, () => within({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }, async (page) => {
  await open(page, '')
  await look(page, 'small')
  assert.equal(await page.getByRole('link', { name: 'Logs' }).count(), 0)
  await page.getByRole('button', { name: /^Pages/ }).click()
  await look(page, 'small-menu')
  await page.getByRole('link', { name: 'Logs' }).click()
  await page.waitForSelector('h1:has-text("Logs")')
  assert.equal(await page.getByRole('link', { name: 'Alerts' }).count(), 0)
  await open(page, `functions/inn/${long}`)
  await look(page, 'small-function')
  await page.click('td.time a')
  await page.waitForSelector('.span')
  await look(page, 'small-trace')
}))

test('what is wrong is said first, and leads to where it is', { skip }, () => within({}, async (page) => {
  await page.route('**/v1/alerts', (route) => route.fulfill({ json: { alerts: [
    { key: '1', rule: 'cold-starts', severity: 'info', state: 'firing', labels: { app: 'inn', function: long }, value: 1, summary: 'many are cold', since: new Date().toISOString() },
    { key: '2', rule: 'queue-age', severity: 'critical', state: 'firing', labels: { app: 'inn', queue: 'jobs' }, value: 1, summary: 'the oldest waits for long', since: new Date().toISOString() },
    { key: '3', rule: 'error-rate', severity: 'critical', state: 'firing', silenced: true, labels: { app: 'inn' }, value: 1, summary: 'silenced', since: new Date().toISOString() },
  ] } }))
  await open(page, '')
  const told = await page.locator('.firing li .what').allTextContents()
  assert.deepEqual(told, ['the oldest waits for long', 'many are cold'])
  await look(page, 'firing')
  await page.click('.firing a:has-text("queue jobs")')
  await page.waitForSelector('h1:has-text("jobs")')
  await until('the message is dead', async () => (await (await node.api('GET', '/v1/apps/inn/dead-letters')).json()).dead_letters.length > 0)
  await page.click('.stat a.bad')
  await page.waitForSelector('h1:has-text("Dead letters")')
  await page.waitForSelector('td:has-text("poison")')
  await open(page, 'queues')
  await page.click('td a.bad')
  await page.waitForSelector('td:has-text("poison")')
}))

test('times are shown in the zone of the browser, or in UTC', { skip }, () => within({ timezoneId: 'Asia/Kolkata' }, async (page) => {
  await open(page, 'traces')
  await page.waitForSelector('td.time')
  const shown = () => page.locator('td.time').last().textContent()
  const minutes = (clock) => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3, 5))
  assert.equal(await page.locator('.zone').textContent(), 'UTC+5:30')
  const local = await shown()
  await page.keyboard.press('Z')
  await page.waitForSelector('.zone:text-is("UTC")')
  assert.equal((minutes(local) - minutes(await shown()) + 1440) % 1440, 330)
}))

test('a chart is read, and its series are hidden, by keys', { skip }, () => within({}, async (page) => {
  await open(page, 'explore?expr=vector(7)')
  await page.waitForSelector('.keys b:text-is("7")')
  await page.focus('.plot')
  await page.keyboard.press('ArrowLeft')
  await page.waitForSelector('.reading:not([hidden]) p:has-text("7")')
  await page.locator('.chart .keys button').focus()
  await page.keyboard.press('Enter')
  await page.waitForSelector('.chart .keys button[aria-pressed=false]')
}))

test('the focus goes with the page, and back is back', { skip }, () => within({}, async (page) => {
  await open(page, '')
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the page')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  await page.click(`td a:has-text("poisoned")`)
  await page.waitForSelector('h1:has-text("poisoned")')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  await page.getByRole('tab', { name: 'Versions' }).click()
  await page.waitForSelector('td:has-text("100 %")')
  await page.goBack()
  await page.waitForSelector('h1:has-text("Functions")')
  await page.goForward()
  await page.waitForSelector('td:has-text("100 %")')
  await page.reload()
  await page.waitForSelector('td:has-text("100 %")')
}))

test('no page broke', { skip }, () => assert.deepEqual(broken, []))
