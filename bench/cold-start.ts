import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { median, row, type Row } from './row.ts'

export const name = 'cold-start'

const ROOT = join(import.meta.dirname, '..')
const HANDLER = join(import.meta.dirname, 'gateway-call', 'functions', 'constant')

/** Starts of each; the median leaves out what the machine did meanwhile. */
const ROUNDS = 15

/** Idle memory is read so long after the start: what starting left behind is collected by then. */
const SETTLE_MS = 3000

/** What a function may take while nobody calls it. */
const IDLE_MIB_MAX = 60

/** From `node index.mjs` to the first answer: a function as in its image, and a bare server. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-cold-'))
  try {
    const ours = await buildFunction(join(dir, 'function'))
    const peer = await buildBare(join(dir, 'bare'))
    const times: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
    // In turns, so that a slow moment of the machine meets both.
    for (let round = 0; round < ROUNDS; round += 1) {
      times.peer.push((await start(peer)).readyMs)
      times.ours.push((await start(ours)).readyMs)
    }
    const idle = { ours: await start(ours, SETTLE_MS), peer: await start(peer, SETTLE_MS) }
    return [
      row({
        work: 'start a function from its bundle, to the first answer (median)',
        beside: 'a process with an empty Fastify',
        ours: median(times.ours),
        peer: median(times.peer),
        unit: 'ms',
        bar: { atMost: 2 },
      }),
      row({
        work: 'memory of a function that nobody calls, resident',
        beside: 'what it may take',
        ours: idle.ours.residentMiB,
        peer: IDLE_MIB_MAX,
        unit: 'MiB',
        bar: { atMost: 1 },
      }),
      row({
        work: 'the same without the pages of Node’s own binary, which containers share',
        beside: 'a process with an empty Fastify',
        ours: idle.ours.ownMiB,
        peer: idle.peer.ownMiB,
        unit: 'MiB',
      }),
    ]
  } finally {
    await rm(dir, { recursive: true })
  }
}

interface Memory {
  residentMiB: number
  /** Of no file: what this process alone takes. */
  ownMiB: number
}

interface Started extends Memory {
  readyMs: number
}

/** Runs `index.mjs` in `folder`, as the image does, until it has answered and settled. */
async function start(folder: string, settleMs = 0): Promise<Started> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['index.mjs'], {
    cwd: folder,
    env: { NODE_ENV: 'production', port: '0', BZZZ_HOST: '127.0.0.1', healthcheck_interval: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  try {
    const port = await portOf(child)
    await (await fetch(`http://127.0.0.1:${port}/x`)).text()
    const readyMs = performance.now() - startedAt
    await new Promise((resolve) => setTimeout(resolve, settleMs))
    return { readyMs, ...(await memoryOf(child.pid ?? 0)) }
  } finally {
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
}

/** Both say in a line of JSON where they listen. */
function portOf(child: ChildProcess): Promise<number> {
  let text = ''
  return new Promise((resolve, reject) => {
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const port = /"port":(\d+)/.exec(text)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    child.once('exit', () => reject(new Error(`It did not start: ${text}`)))
  })
}

async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const valueOf = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024
  return { residentMiB: valueOf('VmRSS'), ownMiB: valueOf('RssAnon') }
}

/** What the image of the constant function holds, laid out as faas-cli does it. */
async function buildFunction(folder: string): Promise<string> {
  await cp(join(ROOT, 'template', 'node24-ts'), folder, { recursive: true })
  await cp(HANDLER, join(folder, 'function'), { recursive: true })
  await cp(join(ROOT, 'shared'), join(folder, 'function', 'shared'), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  await promisify(execFile)(process.execPath, ['build.ts'], { cwd: folder })
  return join(folder, 'dist')
}

/** The least that answers over Fastify, loaded from node_modules as most servers are. */
async function buildBare(folder: string): Promise<string> {
  await mkdir(folder)
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const code = `
    import fastify from 'fastify'
    const app = fastify()
    app.get('/*', async () => ({ constant: '' }))
    await app.listen({ host: '127.0.0.1', port: 0 })
    console.error(JSON.stringify({ port: app.server.address().port }))
  `
  await writeFile(join(folder, 'index.mjs'), code)
  return folder
}
