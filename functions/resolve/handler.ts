import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { MemoryCache } from '../../shared/cache/memory-cache.ts'
import { RedisCache } from '../../shared/cache/redis-cache.ts'
import { parseEnv } from '../../shared/config/env.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase } from '../../shared/db/database.ts'
import { Aliases } from '../../shared/v1/aliases.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { resolveConfigSchema } from './config.ts'
import { ContentReader } from './content-reader.ts'
import { ContentWriter } from './content-writer.ts'
import { RecordCache, type CachedResolution } from './record-cache.ts'
import { resolveRoutes } from './routes.ts'

/** `bzzz://` over HTTP: the address is the path of the URL. */
export default async function resolve(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<void> {
  const config = parseEnv(resolveConfigSchema, context.env)
  const { log, registry } = context

  const daemon = new DaemonClient({ endpoints: config.BZZZ_ENDPOINT })
  const cache = config.REDIS_URL
    ? new RedisCache<CachedResolution>({ log }, { url: config.REDIS_URL })
    : new MemoryCache<CachedResolution>()
  const records = new RecordCache(
    { cache, daemon, registry },
    { ttlMs: config.BZZZ_RESOLVE_CACHE_TTL },
  )
  const reader = new ContentReader({ daemon }, { bytesMax: config.BZZZ_RESOLVE_CONTENT_BYTES })
  const writer = new ContentWriter({ daemon, records }, { putBytesMax: config.BZZZ_PUT_BYTES_MAX })

  // Addresses are resolved without a database; only names of v1 are not.
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: 1 })
    : null
  const aliases = database && new Aliases({ db: database.db })

  app.addHook('onClose', async () => {
    await Promise.all([daemon.close(), cache.close(), database?.close()])
  })
  context.ready('daemon', (signal) => daemon.isReady(signal))
  await registerAccess(app, context)
  await app.register(resolveRoutes, { daemon, records, reader, writer, aliases })
}
