import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

import { Redis } from 'ioredis'

import { findFreePort } from '../../cli/up/ports.ts'
import { until } from './mesh.ts'
import type { QueueServer } from './queue-server.ts'

const PROGRAM = 'redis-server'

/** Where the server of the distribution lies; undefined where it is not installed. */
export function findRedisServer(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin']
  return folders.map((folder) => join(folder, PROGRAM)).find((path) => existsSync(path))
}

/** A Redis of a test that writes everything down before it answers, as one with jobs has to. */
export async function startRedisServer(program: string): Promise<QueueServer> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-redis-'))
  const port = await findFreePort()
  const url = `redis://127.0.0.1:${port}`
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, ...durable]
  let server: ChildProcess | undefined
  const resume = async (): Promise<void> => {
    server = spawn(program, args, { stdio: 'ignore' })
    await until(() => pings(url), 'Redis to answer')
  }
  const pause = async (): Promise<void> => {
    if (!server || server.exitCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGTERM')
    await exited
  }
  await resume()
  return {
    url,
    pause,
    resume,
    stop: async () => {
      await pause()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function pings(url: string): Promise<boolean> {
  const options = { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null }
  const client = new Redis(url, options)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    client.disconnect()
  }
}
