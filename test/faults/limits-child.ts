import { MemoryLimitStore } from '../../functions/llm-proxy/limits/memory-store.ts'
import { PostgresLimitStore } from '../../functions/llm-proxy/limits/postgres-store.ts'
import { RedisLimitStore } from '../../functions/llm-proxy/limits/redis-store.ts'
import { parseRules } from '../../functions/llm-proxy/limits/rules.ts'
import { StoreLimits } from '../../functions/llm-proxy/limits/store-limits.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'

/** A replica that takes calls in and never ends them. */
const [kind = '', url = '', rulesText = '', ttlMs = ''] = process.argv.slice(2)
const log = createSilentLogger()
const Store = { postgres: PostgresLimitStore, redis: RedisLimitStore }[kind]
const rules = parseRules(rulesText)
const limits = new StoreLimits(
  {
    store: Store ? new Store({ log }, { url }) : new MemoryLimitStore(),
    rules: () => rules,
    log,
    registry: new Registry(),
  },
  { awayRequestsPerMinute: 0, ttlMs: Number(ttlMs), renewMs: Number(ttlMs) / 4 },
)
await limits.start()
const scope = { tokenId: 't', subject: 's', project: 'apollo', agent: 'coder', model: 'm' }
const { signal } = new AbortController()
let taken = 0
try {
  for (;;) {
    await limits.reserve(scope, { inputTokens: 1, outputTokensMax: 1, costNanoUsd: 1n }, signal)
    taken += 1
  }
} catch (error) {
  process.send?.({ taken, code: (error as { code?: string }).code })
}
// Held until the process is killed.
setInterval(() => undefined, 1_000)
