import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import { checkRedis } from '../../shared/redis/check-redis.ts'
import { PortInUseError } from '../../shared/errors.ts'
import { readStackFile } from '../../shared/function/stack-file.ts'
import { createLogger } from '../../shared/log/log.ts'
import { checkDatabase } from '../../shared/db/database.ts'
import type { UpConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { ensureAdminToken } from './admin-token.ts'
import { ensureCallbackSecret } from './callback-secret.ts'
import { NODES_DEFAULT, PREVIOUS_RUN_TIMEOUT_MS, READY_POLL_INTERVAL_MS } from './constants.ts'
import {
  createFolders,
  inspectDataFolder,
  makeDataFolder,
  newMarker,
  nodeNameOf,
  writeMarker,
} from './data-folder.ts'
import { layoutOf, type DataLayout } from './data-layout.ts'
import { DataFolderLock } from './lock.ts'
import { LogFollower } from './log-file.ts'
import { checkPorts, planPorts, type PortPlan } from './ports.ts'
import { RunningFile } from './running-file.ts'
import { formatSummary } from './summary.ts'
import { Supervisor } from './supervisor.ts'

export interface UpRequest {
  dataDir: string
  /** As many as last time when not said. */
  nodes: number | undefined
  /** Of the first node; as last time when not said. */
  name: string | undefined
  /** Where the mesh listens, in place of BZZZ_LISTEN. */
  listen: string | undefined
  offset: number
  json: boolean
  verbose: boolean
}

/**
 * Runs a cluster until told to stop. Everything that can be wrong with folder, ports and servers
 * is looked at before anything is touched.
 */
export async function up(host: CommandHost, config: UpConfig, request: UpRequest): Promise<void> {
  const startedMs = performance.now()
  const layout = layoutOf(request.dataDir)
  const found = await inspectDataFolder(request.dataDir)
  const first = nodeNameOf(layout, request.name, found)
  const plan = await planOf(host, config, { ...request, name: first }, found?.nodes)
  const meshHost = request.listen ?? config.BZZZ_LISTEN ?? config.BZZZ_HOST
  // Of a used folder the lock is asked first: it knows who holds the ports as well.
  let lock = found ? await DataFolderLock.acquire(layout) : null
  try {
    await waitForPorts(plan, { host: config.BZZZ_HOST, meshHost }, layout, host.signal)
    if (config.DATABASE_URL) await checkDatabase(config.DATABASE_URL)
    if (config.REDIS_URL) await checkRedis(config.REDIS_URL)
    await makeDataFolder(request.dataDir)
    lock ??= await DataFolderLock.acquire(layout)
    const marker = { ...(found ?? newMarker()), nodes: plan.nodes.length, name: first }
    await writeMarker(layout, marker)
    await createFolders(layout)
    const token = await ensureAdminToken(layout)
    await ensureCallbackSecret(layout)
    const supervisor = new Supervisor(componentsOf(host, config, request, layout), {
      env: host.env,
      layout,
      plan,
      host: config.BZZZ_HOST,
      meshHost,
      offset: request.offset,
      stackFile: config.BZZZ_STACK_FILE,
      databaseURL: config.DATABASE_URL ?? null,
      migrate: config.BZZZ_MIGRATE,
      redisURL: config.REDIS_URL,
      marker,
      token,
    })
    await run(supervisor, host, request, { token, startedMs })
  } finally {
    lock?.release()
  }
}

async function run(
  supervisor: Supervisor,
  { stdout, stderr, signal, force }: CommandHost,
  { json }: UpRequest,
  { token, startedMs }: { token: string; startedMs: number },
): Promise<void> {
  try {
    const state = await supervisor.start({ signal })
    const tookMs = performance.now() - startedMs
    stdout.write(json ? `${JSON.stringify(state)}\n` : formatSummary({ state, token, tookMs }))
    if (!signal.aborted) await once(signal, 'abort')
    stderr.write('bzzz: stopping\n')
  } catch (error) {
    // Told to stop while it started: that is no failure.
    if (!signal.aborted) throw error
  } finally {
    await supervisor.stop({ force })
  }
}

async function planOf(
  { env }: CommandHost,
  config: UpConfig,
  { nodes, name, offset }: UpRequest & { name: string },
  nodesLastTime: number | undefined,
): Promise<PortPlan> {
  const stack = await readStackFile(config.BZZZ_STACK_FILE, env)
  const functions = Object.fromEntries(
    stack.functions.flatMap(({ name, port }) => (port === null ? [] : [[name, port] as const])),
  )
  return planPorts({ nodes: nodes ?? nodesLastTime ?? NODES_DEFAULT, name, offset, functions })
}

/** The parts of a supervisor that was killed end by themselves, but not in the same moment. */
async function waitForPorts(
  plan: PortPlan,
  { host, meshHost }: { host: string; meshHost: string },
  layout: DataLayout,
  signal: AbortSignal,
): Promise<void> {
  const patienceMs = existsSync(layout.running) ? PREVIOUS_RUN_TIMEOUT_MS : 0
  const deadlineMs = Date.now() + patienceMs
  for (;;) {
    try {
      await checkPorts(plan, host, meshHost)
      return
    } catch (error) {
      if (!(error instanceof PortInUseError) || Date.now() >= deadlineMs) throw error
    }
    await sleep(READY_POLL_INTERVAL_MS, undefined, { signal })
  }
}

function componentsOf(
  { stdout, stderr }: CommandHost,
  config: UpConfig,
  { json, verbose }: UpRequest,
  layout: DataLayout,
) {
  // A person sees the steps, and hears of what goes wrong; a program gets every line.
  const level = json || verbose ? config.BZZZ_LOG_LEVEL : 'warn'
  return {
    log: createLogger({ name: 'bzzz', level, pretty: !json }),
    output: json ? stderr : stdout,
    runningFile: new RunningFile(layout),
    follower: verbose ? new LogFollower({ output: stderr }) : null,
  }
}
