import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { InvalidInvitationError, PeerUnreachableError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { JOIN_RETRY_MAX_MS, JOIN_RETRY_MIN_MS } from './constants.ts'
import type { Joiner } from './joiner.ts'
import { TurnedAwayError } from './knock.ts'

/** Nobody was there, or somebody hung up: the door may be crowded, and the time is not over. */
function isUndecided(error: unknown): boolean {
  if (error instanceof PeerUnreachableError) return true
  return error instanceof InvalidInvitationError && error.cause instanceof TurnedAwayError
}

export interface JoinState {
  /** `trying`: nobody was reached yet. `refused`: it is over, and another invitation is needed. */
  state: 'none' | 'trying' | 'joined' | 'refused'
  error: string | null
}

/**
 * Uses what `bzzz node join` left in `<dataDir>/config/join` while the node did not run: an
 * invitation or an address. Nobody being there is tried again for as long as it lasts; a refusal
 * ends it. The file goes once it is decided, so that a restart in between begins again.
 */
export class PendingJoin implements Startable {
  readonly #joiner: Pick<Joiner, 'join'>
  readonly #log: Logger
  readonly #path: string
  #state: JoinState = { state: 'none', error: null }
  #running: { abort: AbortController; done: Promise<void> } | undefined

  constructor(
    components: { joiner: Pick<Joiner, 'join'>; log: Logger },
    init: { dataDir: string },
  ) {
    this.#joiner = components.joiner
    this.#log = components.log.child({ component: 'join' })
    this.#path = join(init.dataDir, 'config', 'join')
  }

  get state(): JoinState {
    return this.#state
  }

  /** Does not wait for it: the node serves what it has meanwhile. */
  async start(): Promise<void> {
    if (this.#running) return
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (text === undefined) return
    const abort = new AbortController()
    this.#running = { abort, done: this.#join(text.trim(), abort.signal) }
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    running?.abort.abort()
    await running?.done
  }

  async #join(text: string, signal: AbortSignal): Promise<void> {
    for (let pauseMs = JOIN_RETRY_MIN_MS; ; pauseMs = Math.min(2 * pauseMs, JOIN_RETRY_MAX_MS)) {
      try {
        await this.#joiner.join(text, signal)
        await rm(this.#path, { force: true })
        this.#state = { state: 'joined', error: null }
        return
      } catch (error) {
        if (signal.aborted) return
        const again = isUndecided(error)
        this.#state = { state: again ? 'trying' : 'refused', error: (error as Error).message }
        this.#log.warn({ err: error, again }, 'the cluster was not joined')
        if (!again) {
          await rm(this.#path, { force: true })
          return
        }
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
    }
  }
}
