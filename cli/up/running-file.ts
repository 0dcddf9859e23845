import { readFile, rm } from 'node:fs/promises'

import { z } from 'zod'

import type { DataLayout } from './data-layout.ts'
import { writeDurable } from './durable-file.ts'

const runningSchema = z.object({
  pid: z.int(),
  version: z.string(),
  dataDir: z.string(),
  tokenFile: z.string(),
  ready: z.boolean(),
  endpoints: z.object({
    gateway: z.string(),
    metrics: z.string(),
    functions: z.record(z.string(), z.string()),
    nodes: z.array(z.object({ name: z.string(), http: z.string() })),
  }),
  /** Name of each part to its process. `postgres` only where it is the embedded one. */
  processes: z.record(z.string(), z.int()),
})

/** What `bzzz up` runs and where; also the one line that `bzzz up --json` prints. */
export type RunningState = z.output<typeof runningSchema>

/** Null when no `bzzz up` runs on this folder, or none did since a clean stop. */
export async function readRunningState(layout: DataLayout): Promise<RunningState | null> {
  try {
    return runningSchema.parse(JSON.parse(await readFile(layout.running, 'utf8')))
  } catch {
    return null
  }
}

/** Keeps `running.json` true while parts come and go. Writes are done one after the other. */
export class RunningFile {
  readonly #path: string
  #writing: Promise<void> = Promise.resolve()

  constructor(layout: DataLayout) {
    this.#path = layout.running
  }

  write(state: RunningState): Promise<void> {
    const text = JSON.stringify(state, null, 2) + '\n'
    this.#writing = this.#writing.catch(() => undefined).then(() => writeDurable(this.#path, text))
    return this.#writing
  }

  async remove(): Promise<void> {
    await this.#writing.catch(() => undefined)
    await rm(this.#path, { force: true })
  }
}
