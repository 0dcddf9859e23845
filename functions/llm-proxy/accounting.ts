import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase, type BzzzDatabase } from '../../shared/db/database.ts'
import { WatchedFile } from '../../shared/file/watched-file.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { startAll, stopAll, type Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AccountingConfig } from './config.ts'
import { FilePrices, NO_PRICES, type Prices } from './cost/prices.ts'
import { DaemonRecorder } from './exchanges/daemon-recorder.ts'
import type { ExchangeRecorder } from './exchanges/recorder.ts'
import { parseRecordingRules, sameForAll } from './exchanges/recording-rules.ts'
import type { LimitStore } from './limits/limit-store.ts'
import type { Limits } from './limits/limits.ts'
import { MemoryLimitStore } from './limits/memory-store.ts'
import { PostgresLimitStore } from './limits/postgres-store.ts'
import { RedisLimitStore } from './limits/redis-store.ts'
import { clusterRule, parseRules } from './limits/rules.ts'
import { StoreLimits } from './limits/store-limits.ts'
import { UsageLog } from './usage/usage-log.ts'

/** Usage rows are written by one connection while another tells of them. */
const CONNECTIONS_MAX = 2

export interface Accounting extends Startable {
  limits: Limits
  prices: Prices
  recorder: ExchangeRecorder
  /** Undefined where there is none. */
  db: BzzzDatabase | undefined
}

type Context = Pick<FunctionContext, 'log' | 'registry' | 'name'>

/** What calls may use, what they cost and what is kept of them, wired. */
export function openAccounting(
  { log, registry, name }: Context,
  config: AccountingConfig,
  init: { endpoints: readonly string[] },
): Accounting {
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: CONNECTIONS_MAX })
    : undefined
  const prices = config.COST_TRACKING_ENABLED
    ? new FilePrices({ log }, { path: config.BZZZ_LLM_PRICES_FILE })
    : NO_PRICES
  const { files, rules, recordingRules } = readFiles(log, config)
  const store = openStore(log, config)
  const limits = new StoreLimits(
    { store, rules, log, registry },
    { awayRequestsPerMinute: config.BZZZ_LLM_LIMITS_AWAY_RPM },
  )
  const usage = database
    ? new UsageLog(
        { db: database.db, log, registry },
        { component: name, spoolDir: config.BZZZ_LLM_SPOOL_DIR },
      )
    : null
  if (!usage) log.warn('no usage rows are written: there is no database')
  const daemon = new DaemonClient({ endpoints: init.endpoints })
  const recorder = new DaemonRecorder(
    { daemon, prices, rules: recordingRules, usage, log, registry },
    { bytesMax: config.BZZZ_LLM_RECORD_BYTES, token: config.BZZZ_LLM_RECORD_TOKEN },
  )
  const parts = [...files, prices, limits, ...(usage ? [usage] : []), recorder]
  return {
    ...{ limits, prices, recorder, db: database?.db },
    start: () => startAll(parts),
    stop: async () => {
      await stopAll(parts)
      await Promise.all([store.close(), daemon.close(), database?.close()])
    },
  }
}

function readFiles(log: Logger, config: AccountingConfig) {
  const watch = <Value>(
    path: string | undefined,
    what: string,
    parse: (text: string) => Value,
  ): WatchedFile<Value> | undefined =>
    path === undefined ? undefined : new WatchedFile({ log }, { path, what, parse })
  const limits = watch(config.BZZZ_LLM_LIMITS_FILE, 'limits', parseRules)
  const recording = watch(config.BZZZ_LLM_RECORD_FILE, 'recording rules', parseRecordingRules)
  const rpm = config.RATE_LIMIT_RPM
  const always = rpm === undefined ? [] : [clusterRule(rpm)]
  const same = sameForAll(config.BZZZ_LLM_RECORD)
  return {
    files: [limits, recording].filter((file) => file !== undefined),
    rules: () => (limits ? [...always, ...limits.value] : always),
    recordingRules: () => recording?.value ?? same,
  }
}

/** Where all replicas count: Redis, else Postgres, else nowhere but here. */
function openStore(log: Logger, config: AccountingConfig): LimitStore {
  if (config.REDIS_URL) return new RedisLimitStore({ log }, { url: config.REDIS_URL })
  if (config.DATABASE_URL) return new PostgresLimitStore({ log }, { url: config.DATABASE_URL })
  log.warn('limits are counted by this replica alone: there is no Redis and no PostgreSQL')
  return new MemoryLimitStore()
}
