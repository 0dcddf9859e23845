import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'

import type { DataLayout } from './data-layout.ts'
import { writeDurable } from './durable-file.ts'

/** As long as the hash it keys. */
const SECRET_BYTES = 32

/** Made once; receivers of callbacks are given a copy by hand. */
export async function ensureCallbackSecret({ callbackSecret }: DataLayout): Promise<void> {
  if (existsSync(callbackSecret)) return
  await writeDurable(callbackSecret, `${randomBytes(SECRET_BYTES).toString('hex')}\n`, 0o600)
}
