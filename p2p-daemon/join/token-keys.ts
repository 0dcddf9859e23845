import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import { InvalidConfigError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'

const keySchema = z.looseObject({ kty: z.string(), kid: z.string() })
const keySetSchema = z.looseObject({ keys: z.array(keySchema) })

export type TokenKey = z.output<typeof keySchema>

/** The public keys with which tokens are verified, in the file that every part reads anew. */
export class TokenKeys {
  readonly #path: string

  constructor(init: { path: string }) {
    this.#path = init.path
  }

  /** Without private parts, whatever somebody put into the file. @throws InvalidConfigError */
  async list(): Promise<TokenKey[]> {
    const { keys } = await this.#read()
    return keys.map(({ d: _private, ...key }) => key as TokenKey)
  }

  /**
   * Adds keys that are not there yet; this node's own go on to count here. Resolves to how many
   * there were.
   */
  async add(added: readonly TokenKey[]): Promise<number> {
    const set = await this.#read()
    const known = new Set(set.keys.map(({ kid }) => kid))
    const fresh = added.filter(({ kid }) => !known.has(kid))
    if (fresh.length === 0) return 0
    const text = JSON.stringify({ ...set, keys: [...set.keys, ...fresh] }, null, 2)
    await replaceFile(this.#path, `${text}\n`)
    return fresh.length
  }

  async #read(): Promise<z.output<typeof keySetSchema>> {
    try {
      return keySetSchema.parse(JSON.parse(await readFile(this.#path, 'utf8')))
    } catch (error) {
      throw new InvalidConfigError(`${this.#path} holds no token keys.`, { cause: error })
    }
  }
}
