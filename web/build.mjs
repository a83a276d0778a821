// Builds the console into dist/, which is committed and embedded in the binary:
// `go build` needs no Node. CI builds it again and compares.
import { build } from 'esbuild'
import { copyFile, mkdir, rm } from 'node:fs/promises'

const out = process.argv[2] ?? 'dist'
await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
await build({
  entryPoints: { app: 'src/main.tsx', style: 'src/style.css' },
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
})
await copyFile('src/index.html', `${out}/index.html`)
