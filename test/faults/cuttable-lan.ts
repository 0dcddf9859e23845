import { Network, type Namespace } from '../helpers/netns.ts'
import { sleep } from './rounds.ts'

/** The port that every node listens on for its peers; each has an address of its own. */
export const PEER_PORT = 9101

/** How a partition behaves for the nodes on either side of it. */
export const CUTS = ['silent', 'refused', 'deaf', 'mute', 'flapping', 'pair'] as const
export type Cut = (typeof CUTS)[number]

/** Packets that vanish, and packets that are answered with a reset. */
const DROP = 'drop'
const RESET = 'meta l4proto tcp reject with tcp reset'

const FLAP_MS_MIN = 100
const FLAP_MS_MAX = 1_500

/** One local network with a namespace for each node, whose cables can be cut. */
export class CuttableLan implements AsyncDisposable {
  readonly #network: Network
  readonly #places: ReadonlyMap<string, Namespace>
  readonly #addresses: ReadonlyMap<string, string>

  private constructor(
    network: Network,
    places: ReadonlyMap<string, Namespace>,
    addresses: ReadonlyMap<string, string>,
  ) {
    this.#network = network
    this.#places = places
    this.#addresses = addresses
  }

  static async create(names: readonly string[]): Promise<CuttableLan> {
    const network = await Network.create()
    const places = new Map<string, Namespace>()
    const addresses = new Map<string, string>()
    try {
      const bridge = await network.bridge('switch')
      for (const [index, name] of names.entries()) {
        const place = await network.namespace(name)
        const address = `10.9.0.${index + 1}`
        await network.plug(place, 'lan', `${address}/24`, bridge)
        places.set(name, place)
        addresses.set(name, address)
      }
      return new CuttableLan(network, places, addresses)
    } catch (error) {
      await network[Symbol.asyncDispose]()
      throw error
    }
  }

  place(name: string): Namespace {
    return this.#places.get(name)!
  }

  addressOf(name: string): string {
    return this.#addresses.get(name)!
  }

  /**
   * Cuts `name` off for as long, the way `cut` says, and heals it. `silent` and `refused` are two
   * sides that hear nothing of each other; a `deaf` node only speaks, a `mute` one only listens;
   * a `pair` is cut off from one other node alone.
   */
  async partition(name: string, cut: Cut, options: PartitionOptions): Promise<void> {
    const { ms, random, other } = options
    if (cut !== 'flapping') {
      await this.#cut(name, cut, other)
      await sleep(ms)
      await this.#heal(name)
      return
    }
    for (let left = ms; left > 0;) {
      const flapMs = FLAP_MS_MIN + random() * (FLAP_MS_MAX - FLAP_MS_MIN)
      await this.#cut(name, random() < 0.5 ? 'silent' : 'refused', other)
      await sleep(flapMs)
      await this.#heal(name)
      await sleep(flapMs / 2)
      left -= 1.5 * flapMs
    }
  }

  async #cut(name: string, cut: Exclude<Cut, 'flapping'>, other: string): Promise<void> {
    const verdict = cut === 'refused' ? RESET : DROP
    const peer = this.addressOf(other)
    const incoming = cut === 'pair' ? `ip saddr ${peer} ${verdict};` : `iifname "lan" ${verdict};`
    const outgoing = cut === 'pair' ? `ip daddr ${peer} ${verdict};` : `oifname "lan" ${verdict};`
    await this.place(name).nft(`table ip cut {
      chain in { type filter hook input priority 0; ${cut === 'mute' ? '' : incoming} }
      chain out { type filter hook output priority 0; ${cut === 'deaf' ? '' : outgoing} }
    }`)
  }

  #heal(name: string): Promise<void> {
    return this.place(name).nft('delete table ip cut')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network[Symbol.asyncDispose]()
  }
}

export interface PartitionOptions {
  ms: number
  random: () => number
  /** The node that a `pair` is cut off from. */
  other: string
}
