import type { AddressInfo } from 'node:net'

import type { Env } from '../shared/config/env.ts'
import { DaemonClient } from '../shared/daemon/daemon-client.ts'
import { createService } from '../shared/http/service.ts'
import { createLogger, type Logger } from '../shared/log/log.ts'
import { createRegistry } from '../shared/metrics/metrics.ts'
import { asPortInUse, type Running } from '../shared/process/entry.ts'
import type { JobHandler } from '../shared/queue/job-queue.ts'
import { CALLBACKS_TOPIC } from '../shared/queue/names.ts'
import { openQueue } from '../shared/queue/open-queue.ts'
import { VERSION } from '../shared/version.ts'
import { readConnectorConfig, type ConnectorConfig } from './config.ts'
import { WORKERS_MAX } from './constants.ts'
import { Follower } from './follower.ts'
import { GatewayClient } from './gateway-client.ts'
import { Callbacks } from './jobs/callbacks.ts'
import { FunctionCaller } from './jobs/function-caller.ts'
import { JobRunner } from './jobs/job-runner.ts'
import { ConnectorMetrics } from './metrics.ts'
import { TokenSource } from './token-source.ts'
import { Workers } from './workers.ts'

export interface ConnectorContext {
  env: Env
  signal: AbortSignal
}

/** Builds the connector and starts it. What was opened before a failure is closed. */
export async function startConnector({ env, signal }: ConnectorContext): Promise<Running> {
  const config = readConnectorConfig(env)
  const log = createLogger({ name: 'connector', level: config.BZZZ_LOG_LEVEL })
  const registry = createRegistry({ component: 'connector', version: VERSION })
  const parts = compose(config, { log, registry, tokenFile: env['BZZZ_TOKEN_FILE'] || undefined })
  const { follower, workers, queue } = parts
  const app = createService(
    { log, registry },
    {
      ready: async () => ({
        ready: follower.isFollowing && (await queue.isReady()),
        detail: { topics: workers.topics() },
      }),
    },
  )
  const stop = async () => {
    log.info('connector draining')
    await follower.stop()
    await workers.stop()
    await app.close()
    await Promise.all(parts.close.map((close) => close()))
    log.info('connector stopped')
  }
  try {
    await app.listen({ host: config.BZZZ_HOST, port: config.BZZZ_CONNECTOR_PORT })
    signal.throwIfAborted()
    await follower.start()
  } catch (error) {
    await stop()
    throw asPortInUse(error, 'BZZZ_CONNECTOR_PORT') ?? error
  }
  const { port } = app.server.address() as AddressInfo
  log.info({ port, queue: queue.kind }, 'connector serving')
  return { ports: { connector: port }, stop }
}

function compose(
  config: ConnectorConfig,
  {
    log,
    registry,
    tokenFile,
  }: { log: Logger; registry: ReturnType<typeof createRegistry>; tokenFile: string | undefined },
) {
  const { BZZZ_TOKEN: token, BZZZ_JOB_TIMEOUT: timeoutMs } = config
  const tokens = new TokenSource({ token, file: tokenFile })
  const queue = openQueue(
    { log },
    { databaseURL: config.DATABASE_URL, redisURL: config.REDIS_URL, workers: WORKERS_MAX },
  )!
  const gateway = new GatewayClient({ tokens }, { url: config.BZZZ_GATEWAY_URL, timeoutMs })
  const daemon =
    config.BZZZ_ENDPOINT.length > 0 ? new DaemonClient({ endpoints: config.BZZZ_ENDPOINT }) : null
  const callbacks = new Callbacks(
    { queue },
    { hosts: config.BZZZ_CALLBACK_HOSTS, secret: config.BZZZ_CALLBACK_SECRET },
  )
  const caller = new FunctionCaller({
    gateway,
    keepBlob: (body, signal) => keepBlob(daemon, body, { token: tokens.token, signal, log }),
  })
  const runner = new JobRunner(
    {
      caller,
      subscriptions: () => follower.subscriptions,
      token: () => tokens.token,
      announce: (job, answers, reason) => callbacks.announce(job, answers, reason),
    },
    { timeoutMs },
  )
  const metrics = new ConnectorMetrics({ registry, queue, topics: () => workers.topics() })
  const handlerOf = (topic: string): JobHandler =>
    metrics.measure(
      topic,
      topic === CALLBACKS_TOPIC ? (job) => callbacks.deliver(job) : (job) => runner.run(job),
    )
  const concurrency = config.BZZZ_JOB_CONCURRENCY
  const workers = new Workers(
    { queue, handlerOf, log },
    { concurrency, lockMs: config.BZZZ_JOB_LOCK, drainMs: config.BZZZ_STOP_TIMEOUT },
  )
  const follower = new Follower(
    { gateway, queue, workers, log },
    { intervalMs: config.BZZZ_POLL_INTERVAL, wanted: config.BZZZ_TOPICS, concurrency },
  )
  const close = [
    () => queue.close(),
    () => gateway.close(),
    () => callbacks.close(),
    async () => daemon?.close(),
  ]
  return { queue, workers, follower, close }
}

/** The hash under which a daemon keeps the body, or null: then the job has its status alone. */
async function keepBlob(
  daemon: DaemonClient | null,
  body: Buffer,
  { token, signal, log }: { token: string; signal: AbortSignal; log: Logger },
): Promise<string | null> {
  if (!daemon) return null
  try {
    const chunks = (async function* () {
      yield body
    })()
    return (await daemon.putBlob(chunks, { token, signal, sizeBytes: body.length })).hash
  } catch (error) {
    log.warn({ err: error, sizeBytes: body.length }, 'result not kept')
    return null
  }
}
