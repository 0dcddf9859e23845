#!/usr/bin/env node
// Runs the command with the Node that the project depends on, as the one that was called may be
// too old to run TypeScript. Plain JavaScript, so that any Node can read this file.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const PARENT_POLL_INTERVAL_MS = 500
/** Compiled code is kept, which halves the time to the first answer. May be deleted at any time. */
const cache = fileURLToPath(new URL('../node_modules/.cache/bzzz', import.meta.url))
const main = fileURLToPath(new URL('./main.ts', import.meta.url))

function findNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve('node/package.json')
    const path = join(dirname(manifest), 'bin', 'node')
    return existsSync(path) ? path : null
  } catch {
    return null
  }
}

function runWith(node) {
  const child = spawn(node, [main, ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { NODE_COMPILE_CACHE: cache, ...process.env },
  })
  // A terminal sends Ctrl-C to both processes; other signals reach this one alone.
  process.on('SIGINT', () => undefined)
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  // npx runs this below a shell that passes no signal on: when that is gone, so is who called npx.
  const parent = process.ppid
  const watch = () => {
    if (process.env.npm_execpath && process.ppid !== parent) child.kill('SIGTERM')
  }
  setInterval(watch, PARENT_POLL_INTERVAL_MS).unref()
  child.on('error', (error) => {
    process.stderr.write(`bzzz: ${node} cannot be run: ${error.message} (BZZZ_PROCESS_START)\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal ? 1 : 0)
  })
}

if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
  module.enableCompileCache(cache)
  await import('./main.ts')
} else {
  const node = findNode()
  if (node) runWith(node)
  else {
    process.stderr.write(
      `bzzz: Node ${NODE_MAJOR_MIN} or newer is needed and this is ${process.versions.node}: run npm install. (BZZZ_PROCESS_START)\n`,
    )
    process.exitCode = 1
  }
}
