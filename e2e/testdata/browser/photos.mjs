// Uploads a photo on the page of examples/photos as a person does, and waits for
// its thumbnail. Arguments: the module playwright-core, the browser, the page's
// URL, the photo.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const [playwright, executablePath, url, photo] = process.argv.slice(2)
const { chromium } = createRequire(import.meta.url)(playwright)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
try {
  const page = await browser.newPage()
  const wrong = []
  page.on('pageerror', (e) => wrong.push(String(e)))
  page.on('response', (r) => { if (r.status() === 404 && !r.url().endsWith('/favicon.ico')) wrong.push(`${r.status()} ${r.url()}`) })
  await page.goto(url)
  assert.equal(await page.title(), 'photos')
  await page.getByLabel('Add photos').setInputFiles(photo)
  const image = page.locator('#list img').first()
  await image.waitFor({ timeout: 60000 })
  const shown = await image.evaluate(async (img) => { await img.decode(); return [img.naturalWidth, img.naturalHeight, new URL(img.src).pathname] })
  assert.deepEqual(shown.slice(0, 2), [320, 240], `the thumbnail ${shown[2]}`)
  await page.getByText('640 × 480').waitFor({ timeout: 60000 })
  await page.locator('#counters', { hasText: /thumbnails: \d/ }).waitFor({ timeout: 60000 })
  await page.locator('#counters', { hasText: /notices: \d/ }).waitFor({ timeout: 60000 })
  assert.deepEqual(wrong, [])

  await page.getByLabel('Add photos').setInputFiles({ name: 'no.png', mimeType: 'image/tiff', buffer: Buffer.from('x') })
  await page.getByText('send an image/jpeg').waitFor({ timeout: 60000 })
} finally {
  await browser.close()
}
console.log('ok')
