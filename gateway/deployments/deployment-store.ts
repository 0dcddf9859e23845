import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'

import { z } from 'zod'

import { InvalidConfigError, StorageUnavailableError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'

const texts = z.record(z.string(), z.string()).readonly()
const list = z.array(z.string()).readonly()
const resources = z.object({ memory: z.string().optional(), cpu: z.string().optional() })

/** What somebody asked for over the API; the handler behind the image comes from the stack file. */
const deployedSchema = z.object({
  image: z.string(),
  process: z.string(),
  environment: texts,
  secrets: list,
  labels: texts,
  annotations: texts,
  constraints: list,
  limits: resources.nullable(),
  requests: resources.nullable(),
  readOnlyRootFilesystem: z.boolean(),
  replicas: z.number().int().min(0),
  deployedAt: z.iso.datetime().transform((text) => new Date(text)),
})

export type Deployed = z.output<typeof deployedSchema>

/** Null is a function that was removed, though the stack file has it. */
const fileSchema = z.object({
  version: z.literal(1),
  functions: z.record(z.string(), deployedSchema.nullable()),
})

/** Deployments in one file, so that they outlive the process. */
export class DeploymentStore {
  readonly #path: string

  constructor({ path }: { path: string }) {
    this.#path = path
  }

  /** @throws InvalidConfigError when the file is not what was written: nothing is guessed */
  async read(): Promise<Map<string, Deployed | null>> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return new Map()
      throw error
    }
    try {
      return new Map(Object.entries(fileSchema.parse(JSON.parse(text)).functions))
    } catch (error) {
      const message = `The deployments in ${this.#path} cannot be read.`
      throw new InvalidConfigError(message, { cause: error })
    }
  }

  /** Durable when it resolves. Environments may hold what is nobody else's business: 0600. */
  async write(functions: ReadonlyMap<string, Deployed | null>): Promise<void> {
    const content = { version: 1, functions: Object.fromEntries(functions) }
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      await replaceFile(this.#path, `${JSON.stringify(content, null, 2)}\n`, 0o600)
    } catch (error) {
      throw new StorageUnavailableError('The deployment cannot be kept.', { cause: error })
    }
  }
}
