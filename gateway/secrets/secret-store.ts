import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

import {
  DeploymentInvalidError,
  InvalidRequestError,
  OverloadedError,
  SecretExistsError,
  SecretNotFoundError,
  StorageUnavailableError,
} from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import { OneAtATime } from '../one-at-a-time.ts'
import { SECRET_BYTES_MAX, SECRETS_MAX } from '../constants.ts'

/** A subdomain of DNS, as Kubernetes and faas-cli have it. No path can be written with it. */
const NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** What `replaceFile` leaves after a crash ends like this. */
const PARTIAL = '.tmp'

/** Retry-After when there is no room: somebody has to remove one first. */
const FULL_RETRY_SECONDS = 60

export interface SecretStoreInit {
  /** Where secrets of the API are kept: one file each, for the owner alone. */
  folder: string
  /** Where platforms and people put further ones; they are used, never listed or changed. */
  others: readonly string[]
}

/** Secrets that functions are given. Values go in; nothing here ever gives one back. */
export class SecretStore {
  readonly #init: SecretStoreInit
  readonly #changes = new OneAtATime()

  constructor(init: SecretStoreInit) {
    this.#init = init
  }

  /** Searched in this order by the functions. */
  get folders(): readonly string[] {
    return [this.#init.folder, ...this.#init.others]
  }

  async list(): Promise<string[]> {
    try {
      const names = await readdir(this.#init.folder)
      return names.filter((name) => NAME.test(name) && !name.endsWith(PARTIAL)).toSorted()
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  /** @throws SecretExistsError */
  async create(name: string, value: Uint8Array): Promise<void> {
    const path = this.#path(name)
    await this.#changes.run(async () => {
      if (await exists(path)) throw new SecretExistsError(`There is a secret named ${name}.`)
      if ((await this.list()).length >= SECRETS_MAX) {
        throw new OverloadedError(`There are ${SECRETS_MAX} secrets already.`, FULL_RETRY_SECONDS)
      }
      await this.#write(path, value)
    })
  }

  /** Replaces the file as a whole: whoever reads it meanwhile has the old value or the new. */
  async update(name: string, value: Uint8Array): Promise<void> {
    const path = this.#path(name)
    await this.#changes.run(async () => {
      await this.#mustExist(name, path)
      await this.#write(path, value)
    })
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name)
    await this.#changes.run(async () => {
      await this.#mustExist(name, path)
      await rm(path)
    })
  }

  /** @throws DeploymentInvalidError naming those that are nowhere */
  async mustHave(names: readonly string[]): Promise<void> {
    const found = await Promise.all(names.map((name) => this.#isSomewhere(name)))
    const missing = names.filter((_, place) => found[place] !== true)
    if (missing.length === 0) return
    throw new DeploymentInvalidError(`Unable to find secret: ${missing.join(', ')}.`)
  }

  async #isSomewhere(name: string): Promise<boolean> {
    if (!NAME.test(name)) return false
    const found = await Promise.all(this.folders.map((folder) => exists(join(folder, name))))
    return found.includes(true)
  }

  #path(name: string): string {
    if (NAME.test(name) && !name.endsWith(PARTIAL)) return join(this.#init.folder, name)
    throw new InvalidRequestError('The name of a secret is a DNS subdomain: a-z, 0-9, - and dots.')
  }

  async #write(path: string, value: Uint8Array): Promise<void> {
    if (value.length > SECRET_BYTES_MAX) {
      throw new InvalidRequestError(`A secret is ${SECRET_BYTES_MAX} bytes at most.`)
    }
    try {
      await mkdir(this.#init.folder, { recursive: true, mode: 0o700 })
      await replaceFile(path, value, 0o600)
    } catch (error) {
      throw new StorageUnavailableError('The secret cannot be kept.', { cause: error })
    }
  }

  async #mustExist(name: string, path: string): Promise<void> {
    if (!(await exists(path))) throw new SecretNotFoundError(`There is no secret named ${name}.`)
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
