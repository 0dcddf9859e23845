import { join } from 'node:path'

import { isHash } from '../../shared/blob/hash.ts'
import type { DiskFiles } from './disk-files.ts'
import type { StoreLayout } from './store-layout.ts'

const SHARD_PATTERN = /^[0-9a-f]{2}$/

/** The hashes of one shard directory after another, which bounds what is in memory. */
export async function* walkLoose(
  files: DiskFiles,
  layout: StoreLayout,
  signal?: AbortSignal,
): AsyncGenerator<string[]> {
  for (const outer of await files.list(layout.data)) {
    if (!SHARD_PATTERN.test(outer)) continue
    for (const inner of await files.list(join(layout.data, outer))) {
      if (!SHARD_PATTERN.test(inner)) continue
      signal?.throwIfAborted()
      const names = await files.list(join(layout.data, outer, inner))
      yield names.filter((name) => isHash(name) && name.startsWith(outer + inner))
    }
  }
}
