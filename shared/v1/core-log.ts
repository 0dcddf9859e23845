import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

import { BLOCKS_AT_ONCE_MAX, RECORD_BYTES_MAX, RECORD_BYTES_SHOWN_MAX } from './constants.ts'
import { loadHypercore, type Core, type HypercoreModules } from './hypercore-modules.ts'
import type { RawRecord } from './record-splitter.ts'

/** What the signed tree of a core says. It says nothing of the chain of v1 inside. */
export interface TreeReport {
  ok: boolean
  key: string
  length: number
  byteLength: number
  fork: number
  treeHash: string
  /** Blocks that are not there: the core is sparse. */
  missing: number[]
  /** Blocks whose bytes are not what the tree was signed over. */
  tampered: number[]
  /** False too where there is nothing that could be signed. */
  signature: boolean
}

/** Of a block that is not there, with no word of it in the tree either. */
const NO_HASH = Buffer.alloc(32)

type Leaf = Awaited<ReturnType<ReturnType<Core['state']['storage']['read']>['getTreeNode']>>

/** Copies the folder, so that opening it changes nothing, and hands out the copy. */
export async function withCopy<T>(folder: string, use: (copy: string) => Promise<T>): Promise<T> {
  const copy = await mkdtemp(join(tmpdir(), 'bzzz-core-'))
  try {
    await cp(folder, copy, {
      recursive: true,
      // It names the inode it was made on; a copy with it refuses to open.
      filter: (source) => basename(source) !== 'CORESTORE',
    })
    return await use(copy)
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

/** Keys of the cores in a copied folder: one of a Hypercore, several of a Corestore. */
export async function listCores(copy: string): Promise<Buffer[]> {
  const { Storage } = await loadHypercore()
  const storage = new Storage(copy, { allowBackup: true })
  const keys: Buffer[] = []
  try {
    await storage.ready()
    for await (const { discoveryKey } of storage.createCoreStream()) {
      const auth = await storage.getAuth(discoveryKey)
      if (auth) keys.push(auth.key)
    }
  } finally {
    await storage.close()
  }
  return keys.toSorted((left, right) => left.compare(right))
}

/** Reads the blocks of one core, then tells what its tree says of them. */
export async function* readCore(
  copy: string,
  key: Buffer,
  onTree: (report: TreeReport) => void,
  signal: AbortSignal,
): AsyncIterable<RawRecord[]> {
  const modules = await loadHypercore()
  const core = new modules.Hypercore(new modules.Storage(copy, { allowBackup: true }), key, {
    createIfMissing: false,
  })
  try {
    await core.ready()
    const tree = new Tree(modules)
    const missing: number[] = []
    const tampered: number[] = []
    let offset = 0
    for (let from = 0; from < core.length; from += BLOCKS_AT_ONCE_MAX) {
      signal.throwIfAborted()
      const read = await readBlocks(core, from)
      const records: RawRecord[] = []
      for (const { index, block, leaf } of read) {
        const hash = block && modules.crypto.data(block)
        const vouched = hash === null || leaf === null || hash.equals(leaf.hash)
        if (block === null) missing.push(index)
        else if (!vouched) tampered.push(index)
        tree.add(leaf ?? { index: 2 * index, size: block?.length ?? 0, hash: hash ?? NO_HASH })
        records.push(toRecord(block, offset, vouched))
        offset += block?.length ?? leaf?.size ?? 0
      }
      yield records
    }
    const signature = await isSigned(core, tree.hash(), modules)
    onTree({
      ok: signature && missing.length === 0 && tampered.length === 0,
      key: core.key.toString('hex'),
      length: core.length,
      byteLength: core.byteLength,
      fork: core.fork,
      treeHash: core.length === 0 ? '' : (await core.treeHash()).toString('hex'),
      missing,
      tampered,
      signature,
    })
  } finally {
    await core.close()
  }
}

/** `get` verifies nothing that is on the disk: the leaf of the tree is read beside the block. */
async function readBlocks(
  core: Core,
  from: number,
): Promise<{ index: number; block: Buffer | null; leaf: Leaf }[]> {
  const count = Math.min(BLOCKS_AT_ONCE_MAX, core.length - from)
  const indexes = Array.from({ length: count }, (_, place) => from + place)
  const reader = core.state.storage.read()
  const leaves = indexes.map((index) => reader.getTreeNode(2 * index))
  reader.tryFlush()
  const blocks = indexes.map((index) => core.get(index, { wait: false }))
  return Promise.all(
    indexes.map(async (index, place) => ({
      index,
      block: await blocks[place]!,
      leaf: await leaves[place]!,
    })),
  )
}

function toRecord(block: Buffer | null, offset: number, vouched: boolean): RawRecord {
  if (block === null) {
    return { bytes: Buffer.alloc(0), offset, sizeBytes: 0, whole: true, refusal: 'missing_block' }
  }
  const whole = block.length <= RECORD_BYTES_MAX
  const bytes = whole ? block : block.subarray(0, RECORD_BYTES_SHOWN_MAX)
  const record = { bytes, offset, sizeBytes: block.length, whole }
  return vouched ? record : { ...record, refusal: 'tampered_block' }
}

/** Whether the key that names the core signed a tree of this hash. */
async function isSigned(core: Core, treeHash: Buffer, modules: HypercoreModules): Promise<boolean> {
  const { length, fork, manifest } = core
  // A core that lost its head opens empty, without a word.
  if (length === 0 || manifest === null) return false
  // One whose head is damaged has no proof; it says so in ways of its own.
  const proof = await core.proof({ upgrade: { start: 0, length } }).catch(() => null)
  const manifestHash = modules.Verifier.manifestHash(manifest)
  if (proof === null || !manifestHash.equals(core.key)) return false
  const tree = {
    length,
    fork,
    hash: () => treeHash,
    signable: (context: Buffer) => modules.treeSignable(context, treeHash, length, fork),
  }
  return new modules.Verifier(manifestHash, manifest).verify(tree, proof.upgrade.signature)
}

/** The Merkle tree over leaves in their order; only the roots are kept. */
class Tree {
  readonly #crypto: HypercoreModules['crypto']
  /** With the number of leaves below each, largest first. */
  readonly #roots: { leaves: number; node: NonNullable<Leaf> }[] = []

  constructor({ crypto }: Pick<HypercoreModules, 'crypto'>) {
    this.#crypto = crypto
  }

  add(leaf: NonNullable<Leaf>): void {
    let right = { leaves: 1, node: leaf }
    for (let left = this.#roots.at(-1); left?.leaves === right.leaves; left = this.#roots.at(-1)) {
      this.#roots.pop()
      right = {
        leaves: 2 * right.leaves,
        node: {
          // Of the parent: between both, as flat in-order trees number their nodes.
          index: (left.node.index + right.node.index) / 2,
          size: left.node.size + right.node.size,
          hash: this.#crypto.parent(left.node, right.node),
        },
      }
    }
    this.#roots.push(right)
  }

  hash(): Buffer {
    return this.#crypto.tree(this.#roots.map(({ node }) => node))
  }
}
