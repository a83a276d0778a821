// The console over 10,000 functions, on a real node. It has no interpreter on its
// PATH, so that a deploy writes all versions and starts none of them.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { cleanUp, dir, look, signIn, skip, startBrowser, startNode } from './fixture.mjs'

const functions = 10_000
let node, browser, page

before(async () => {
  if (skip) return
  const nowhere = join(dir, 'nowhere')
  mkdirSync(nowhere, { recursive: true })
  let manifest = 'app: many\nfunctions:\n'
  for (let i = 0; i < functions; i++) manifest += `  f${i}: {runtime: node, source: ./src, handler: index.handler, on: [{http: /f${i}}]}\n`
  node = await startNode('many', { 'mayfly.yaml': manifest, 'src/index.js': 'exports.handler = async () => 1' }, { env: { ...process.env, PATH: nowhere }, args: ['--durability', 'fast'] })
  browser = await startBrowser()
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  page.setDefaultTimeout(60_000)
  await signIn(page, node)
}, { timeout: 300_000 })

after(async () => {
  await browser?.close()
  await node?.stop()
  cleanUp()
})

test('10,000 functions are listed by page, found and scrolled through', { skip }, async () => {
  const sizes = []
  page.on('response', async (res) => {
    if (!res.url().includes('/v1/functions')) return
    sizes.push({ status: res.status(), bytes: res.status() === 200 ? (await res.body().catch(() => '')).length : 0 })
  })
  const began = Date.now()
  await page.goto(node.console)
  await page.waitForSelector('td a:has-text("many/f0")')
  const shown = Date.now() - began
  await page.waitForSelector('.stat:has-text("10,000")')
  assert.ok(await page.locator('tbody tr').count() < 100, 'only the rows in sight are drawn')
  await look(page, 'many')

  let at = Date.now()
  await page.fill('#filter-find', 'f9876')
  await page.waitForSelector('.stat:has-text("Functions1")')
  const found = Date.now() - at
  await page.waitForSelector('td a:has-text("many/f9876")')
  await page.fill('#filter-find', '')
  await page.waitForSelector('.stat:has-text("10,000")')

  at = Date.now()
  await page.evaluate(() => { const box = document.querySelector('.scroll.tall'); box.scrollTop = box.scrollHeight })
  await page.waitForSelector('td a:has-text("many/f9999")')
  const end = Date.now() - at

  // How long frames take while the list is scrolled as fast as a wheel can.
  const slow = await page.evaluate(async () => {
    const box = document.querySelector('.scroll.tall')
    const frames = []
    let last = performance.now()
    for (let i = 0; i < 60; i++) {
      box.scrollTop = (box.scrollHeight / 60) * i
      await new Promise(requestAnimationFrame)
      const now = performance.now()
      frames.push(now - last)
      last = now
    }
    return frames.sort((a, b) => a - b)[Math.floor(frames.length * 0.95)]
  })
  await page.waitForFunction(() => !document.querySelector('td.quiet[colspan]'))

  const largest = Math.max(0, ...sizes.map((s) => s.bytes))

  // A page that nothing happens on is asked for again, and not sent again.
  await page.waitForResponse((res) => res.url().includes('/v1/functions') && res.status() === 304)
  console.log(`10,000 functions: shown in ${shown} ms, found in ${found} ms, the end in ${end} ms, 95 % of frames under ${slow.toFixed(0)} ms, largest reply ${largest} bytes`)
  assert.ok(largest > 0 && largest < 200_000, `a reply has ${largest} bytes`)

  await page.keyboard.press('Control+k')
  await page.keyboard.type('f4321')
  await page.waitForSelector('[role=option]:has-text("many/f4321")')
  await page.keyboard.press('Enter')
  await page.waitForSelector('h1:has-text("f4321")')
})

test('the other pages stand 10,000 functions too', { skip }, async () => {
  for (const name of ['deploys', 'cost', 'alerts', 'map', 'doctor']) {
    await page.goto(node.console + name)
    await page.waitForSelector('h1')
    await page.waitForSelector('[aria-busy]', { state: 'detached' })
  }
  const { deploys } = await (await node.api('GET', '/v1/apps/many/deploys')).json()
  await page.goto(`${node.console}deploys/many/${deploys[0].id}`)
  await page.waitForSelector('.diff')
})
