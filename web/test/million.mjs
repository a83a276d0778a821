// How the console's log page fares over a million lines on a real node:
// node test/million.mjs
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cleanUp, dir, shots, signIn, skip, startBrowser, startNode } from './fixture.mjs'

if (skip) throw new Error(skip)
const store = join(dir, 'lines-data', 'telemetry')
mkdirSync(store, { recursive: true })
console.log(execFileSync('go', ['test', './telemetry', '-run', 'XXX', '-bench', 'Million/ingest', '-benchtime', '1x'], { cwd: new URL('../..', import.meta.url).pathname, env: { ...process.env, MAYFLY_BENCH_DIR: store }, encoding: 'utf8' }).split('\n').find((l) => l.includes('rows/s')))
const node = await startNode('lines', { 'mayfly.yaml': 'app: lines\n' })
const browser = await startBrowser()
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
page.setDefaultTimeout(60_000)
await signIn(page, node)
await page.goto(node.console)
await page.waitForSelector('h1')

/** The time from going to a page until something of it is there. */
async function timed(what, path, selector) {
  const times = []
  for (let i = 0; i < 5; i++) {
    await page.goto(`${node.console}explore`)
    await page.waitForSelector('h1')
    const began = Date.now()
    await page.evaluate((path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }, path)
    await page.waitForSelector(selector)
    times.push(Date.now() - began)
  }
  console.log(`${what}: median ${times.sort((a, b) => a - b)[2]} ms, worst ${times[4]} ms`)
}

await timed('the last thousand lines', '/logs?since=24h', '.line')
await timed('the histogram of all of them', '/logs?since=24h', '.histogram figcaption:has-text("1,000,000")')
await timed('a text that many have', '/logs?since=24h&text=refused', '.line')
await timed('a text that few have', '/logs?since=24h&text=order+1007+refused', '.line')
await timed('a text that none has', '/logs?since=24h&text=nothing+of+the+kind', '.nothing')
await timed('errors of a function', '/logs?since=24h&function=fn-1&level=error', '.line')

await page.goto(`${node.console}logs?since=24h`)
await page.waitForSelector('.histogram figcaption:has-text("1,000,000")')
await page.screenshot({ path: join(shots, 'million.png') })
let lines = 0
const began = Date.now()
while (lines < 20_000) {
  await page.evaluate(() => { document.querySelector('.lines').scrollTop = 0 })
  await page.waitForFunction((had) => Number((document.querySelector('.panel header .quiet')?.textContent ?? '0').replace(/[^0-9]/g, '')) > had, lines)
  lines = await page.evaluate(() => Number(document.querySelector('.panel header .quiet').textContent.replace(/[^0-9]/g, '')))
}
console.log(`scrolled back through ${lines} lines in ${Date.now() - began} ms, ${await page.locator('.line').count()} rows drawn`)
const frames = await page.evaluate(async () => {
  const box = document.querySelector('.lines')
  const out = []
  let last = performance.now()
  for (let i = 0; i < 120; i++) {
    box.scrollTop = (box.scrollHeight / 120) * i + 2000
    await new Promise(requestAnimationFrame)
    out.push(performance.now() - last)
    last = performance.now()
  }
  return out.sort((a, b) => a - b)
})
console.log(`frames while scrolling: median ${frames[60].toFixed(0)} ms, 95 % under ${frames[114].toFixed(0)} ms`)
await browser.close()
await node.stop()
cleanUp()
