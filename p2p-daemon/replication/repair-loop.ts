import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { REPAIR_BATCH_BLOBS, REPAIR_INTERVAL_MS, REPAIRS_CONCURRENT_MAX } from './constants.ts'
import type { OwedLedger } from './owed-ledger.ts'
import type { ReplicatedStore } from './replicated-store.ts'
import { Semaphore } from './semaphore.ts'

export interface RepairLoopComponents {
  mesh: Pick<Mesh, 'on' | 'peers'>
  ledger: OwedLedger
  blobs: Pick<ReplicatedStore, 'repair'>
  log: Logger
}

/** Makes good what is owed: when a peer joins, and every so often. */
export class RepairLoop implements Startable {
  readonly #components: RepairLoopComponents
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  #woken = false
  readonly #slots = new Semaphore({
    running: REPAIRS_CONCURRENT_MAX,
    waiting: REPAIR_BATCH_BLOBS,
  })

  constructor(components: RepairLoopComponents) {
    this.#components = components
    components.mesh.on('join', () => {
      this.#woken = true
      this.#wake()
    })
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await this.#loop
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#woken) await this.#sleep()
      this.#woken = false
      if (!signal.aborted && this.#components.mesh.peers().length > 0) await this.#round(signal)
    }
  }

  async #sleep(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, REPAIR_INTERVAL_MS)
    })
    clearTimeout(timer)
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { ledger, blobs, log } = this.#components
    let after = ''
    let repaired = 0
    while (!signal.aborted) {
      const batch = ledger.page(after, REPAIR_BATCH_BLOBS)
      if (batch.length === 0) break
      const results = await Promise.allSettled(
        batch.map((owed) => this.#slots.run(() => blobs.repair(owed, signal))),
      )
      repaired += results.filter((r) => r.status === 'fulfilled' && r.value).length
      after = batch.at(-1)!.hash
    }
    if (repaired > 0) log.info({ repaired, owed: ledger.count() }, 'replicas made good')
  }
}
