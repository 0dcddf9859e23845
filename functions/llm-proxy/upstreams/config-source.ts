import { dirname, join, resolve } from 'node:path'

import { parse } from 'yaml'

import { InvalidConfigError } from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { CONFIG_BYTES_MAX } from '../constants.ts'
import { OPENAI_BASE_URL_DEFAULT } from '../config.ts'
import { upstreamsSchema, type UpstreamsConfig } from './upstream-config.ts'
import { RereadFile } from './reread-file.ts'

/** Names of secrets that are looked for where nothing else is said. */
const CONFIG_SECRET = 'llm-proxy-config'
const KEY_SECRET = 'openai-api-key'

export interface ConfigSourceInit {
  file?: string | undefined
  baseURL: string
  key?: string | undefined
  keyFile?: string | undefined
  secretsDirs: readonly string[]
}

export interface LoadedUpstreams extends UpstreamsConfig {
  /** The key of the one upstream that the environment names, where it is no file. */
  environmentKey?: string
}

/**
 * Where the upstreams come from: the file that was named, else the one among the secrets, else the
 * variables of OpenAI's own clients. A file is read again when it changes; one that is not valid
 * is reported and the configuration before it stays.
 */
export class ConfigSource {
  readonly #log: Logger
  readonly #init: ConfigSourceInit
  readonly #file: RereadFile | null
  #current: LoadedUpstreams

  private constructor(log: Logger, init: ConfigSourceInit, file: RereadFile | null) {
    this.#log = log
    this.#init = init
    this.#file = file
    this.#current = file ? readUpstreams(file) : fromEnvironment(init)
  }

  /** @throws InvalidConfigError with every problem */
  static open({ log }: { log: Logger }, init: ConfigSourceInit): ConfigSource {
    const named = init.file === undefined ? [] : [init.file]
    const paths = init.file === undefined ? secretPaths(CONFIG_SECRET, init.secretsDirs) : named
    const file = new RereadFile(paths, { bytesMax: CONFIG_BYTES_MAX })
    const isThere = file.text !== null
    if (!isThere && init.file !== undefined) {
      throw new InvalidConfigError(`The configuration of upstreams cannot be read: ${init.file}.`)
    }
    return new ConfigSource(log, init, isThere ? file : null)
  }

  get current(): LoadedUpstreams {
    return this.#current
  }

  /** Looks at the file. True when there is a new configuration. */
  refresh(): boolean {
    if (!this.#file) return this.#refreshEnvironment()
    if (!this.#file.refresh() || this.#file.text === null) return false
    try {
      this.#current = readUpstreams(this.#file)
    } catch (error) {
      this.#log.error({ err: error }, 'configuration of upstreams not valid, the old one stays')
      return false
    }
    this.#log.info('configuration of upstreams read again')
    return true
  }

  /** A key may come after the start, as a secret that is mounted. */
  #refreshEnvironment(): boolean {
    if (Object.keys(this.#current.upstreams).length > 0) return false
    this.#current = fromEnvironment(this.#init)
    return Object.keys(this.#current.upstreams).length > 0
  }
}

function readUpstreams(file: RereadFile): LoadedUpstreams {
  let value: unknown
  try {
    // JSON is YAML too.
    value = parse(file.text ?? '')
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unreadable'
    throw new InvalidConfigError(`${file.path} is neither YAML nor JSON: ${reason}`)
  }
  const result = upstreamsSchema.safeParse(value)
  if (result.success) return withKeyPaths(result.data, dirname(file.path))
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new InvalidConfigError(`${file.path} is not valid:\n  ${problems.join('\n  ')}`)
}

/** A key that is named with a slash is a path, from the folder of the file that names it. */
function withKeyPaths(config: UpstreamsConfig, folder: string): UpstreamsConfig {
  const upstreams = Object.entries(config.upstreams).map(([name, one]) => {
    const isPath = one.type !== 'mesh' && one.apiKeyFile?.includes('/') === true
    return [name, isPath ? { ...one, apiKeyFile: resolve(folder, one.apiKeyFile!) } : one]
  })
  return { ...config, upstreams: Object.fromEntries(upstreams) as UpstreamsConfig['upstreams'] }
}

function fromEnvironment(init: ConfigSourceInit): LoadedUpstreams {
  const { baseURL, key, secretsDirs } = init
  const named = init.keyFile === undefined ? undefined : resolve(init.keyFile)
  const apiKeyFile = named ?? firstPresent(secretPaths(KEY_SECRET, secretsDirs))
  const hasKey = key !== undefined || (apiKeyFile !== undefined && firstPresent([apiKeyFile]))
  // OpenAI itself serves nobody without a key; a server of one's own may.
  const isConfigured = hasKey || baseURL !== OPENAI_BASE_URL_DEFAULT
  const upstreams = isConfigured
    ? { openai: { baseURL, ...(key === undefined && apiKeyFile !== undefined && { apiKeyFile }) } }
    : {}
  const config = upstreamsSchema.parse({ upstreams })
  return key === undefined ? config : { ...config, environmentKey: key }
}

export function secretPaths(secret: string, secretsDirs: readonly string[]): string[] {
  return secretsDirs.map((folder) => join(folder, secret))
}

function firstPresent(paths: readonly string[]): string | undefined {
  return paths.find((path) => new RereadFile([path], { bytesMax: CONFIG_BYTES_MAX }).text !== null)
}
