import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { z } from 'zod'

import { InvalidConfigError } from '../../shared/errors.ts'
import { replaceFile } from '../../shared/file/replace-file.ts'
import { ADMISSIONS_MAX, REMOVALS_MAX } from './constants.ts'

export const removalSchema = z.strictObject({
  /** Unique, so that a removal is carried out once and a node can be taken in again later. */
  id: z.uuid(),
  peerId: z.string().min(1).max(128),
  name: z.string().max(63),
  removedAt: z.iso.datetime(),
})

export const memberSchema = z.strictObject({
  peerId: z.string().min(1).max(128),
  name: z.string().min(1).max(63),
})

export const admissionSchema = memberSchema.extend({
  /** Unique, so that an admission is carried out once and does not undo a later removal. */
  id: z.uuid(),
  admittedAt: z.iso.datetime(),
})

const stateSchema = z.object({
  draining: z.boolean().default(false),
  removals: z.array(removalSchema).max(REMOVALS_MAX).default([]),
  admissions: z.array(admissionSchema).max(ADMISSIONS_MAX).default([]),
})

export type Removal = z.infer<typeof removalSchema>
export type ClusterMember = z.infer<typeof memberSchema>
export type Admission = z.infer<typeof admissionSchema>

/**
 * What was decided about nodes while the cluster ran, in `<dataDir>/config/node.json`: that this
 * one is being drained, and which ones were let in and removed.
 */
export class NodeState {
  readonly #path: string
  #state: z.infer<typeof stateSchema>
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, state: z.infer<typeof stateSchema>) {
    this.#path = path
    this.#state = state
  }

  /** As it is on a node about which nothing was decided yet. */
  static fresh(dataDir: string): NodeState {
    return new NodeState(pathIn(dataDir), { draining: false, removals: [], admissions: [] })
  }

  /** @throws InvalidConfigError when the file is there but cannot be understood */
  static async load(dataDir: string): Promise<NodeState> {
    const path = pathIn(dataDir)
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return NodeState.fresh(dataDir)
    }
    try {
      return new NodeState(path, stateSchema.parse(JSON.parse(text)))
    } catch (error) {
      throw new InvalidConfigError(`${path} cannot be understood.`, { cause: error })
    }
  }

  get draining(): boolean {
    return this.#state.draining
  }

  get removals(): readonly Removal[] {
    return this.#state.removals
  }

  get admissions(): readonly Admission[] {
    return this.#state.admissions
  }

  setDraining(draining: boolean): Promise<void> {
    return this.#change({ ...this.#state, draining })
  }

  /** The oldest beyond the limit are forgotten. */
  addRemoval(removal: Removal): Promise<void> {
    const removals = [...this.#state.removals, removal].slice(-REMOVALS_MAX)
    return this.#change({ ...this.#state, removals })
  }

  /** The oldest beyond the limit are forgotten. */
  addAdmissions(added: readonly Admission[]): Promise<void> {
    const admissions = [...this.#state.admissions, ...added].slice(-ADMISSIONS_MAX)
    return this.#change({ ...this.#state, admissions })
  }

  /** After a crash the file holds the old or the new state, never a part of either. */
  #change(state: z.infer<typeof stateSchema>): Promise<void> {
    this.#state = state
    const text = `${JSON.stringify(state, null, 2)}\n`
    const writing = this.#writing.then(() => replaceFile(this.#path, text, 0o600))
    this.#writing = writing.catch(() => undefined)
    return writing
  }
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'config', 'node.json')
}
