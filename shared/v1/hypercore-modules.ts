import { HypercoreMissingError } from '../errors.ts'

/** What is used of `hypercore-storage`; none of these packages has types. */
export interface CoreStorage {
  ready(): Promise<void>
  close(): Promise<void>
  createCoreStream(): AsyncIterable<{ discoveryKey: Buffer }>
  getAuth(discoveryKey: Buffer): Promise<{ key: Buffer } | null>
}

interface TreeNode {
  index: number
  size: number
  hash: Buffer
}

/** What is used of `hypercore`. The state and its storage are internal to the pinned version. */
export interface Core {
  key: Buffer
  length: number
  byteLength: number
  fork: number
  manifest: object | null
  state: {
    storage: { read(): { getTreeNode(index: number): Promise<TreeNode | null>; tryFlush(): void } }
  }
  ready(): Promise<void>
  close(): Promise<void>
  get(index: number, options: { wait: false }): Promise<Buffer | null>
  treeHash(): Promise<Buffer>
  proof(options: { upgrade: { start: number; length: number } }): Promise<{
    upgrade: { signature: Buffer }
  }>
}

interface SignedTree {
  length: number
  fork: number
  hash(): Buffer
  signable(context: Buffer): Buffer
}

interface Verifier {
  verify(tree: SignedTree, signature: Buffer): boolean
}

export interface HypercoreModules {
  Storage: new (folder: string, options: { allowBackup: true }) => CoreStorage
  Hypercore: new (storage: CoreStorage, key: Buffer, options: { createIfMissing: false }) => Core
  crypto: {
    data(block: Buffer): Buffer
    parent(left: TreeNode, right: TreeNode): Buffer
    tree(roots: TreeNode[]): Buffer
  }
  Verifier: {
    new (manifestHash: Buffer, manifest: object): Verifier
    manifestHash(manifest: object): Buffer
  }
  treeSignable(context: Buffer, treeHash: Buffer, length: number, fork: number): Buffer
}

/** As the packages are called; not in one string, so that no bundle takes them along. */
const HYPERCORE = 'hypercore'

/**
 * Loads the optional packages, which bring a native database. v1 itself wrote no hypercores, so
 * most never need them.
 * @throws HypercoreMissingError
 */
export async function loadHypercore(): Promise<HypercoreModules> {
  const load = async (name: string): Promise<unknown> => {
    try {
      return ((await import(name)) as { default: unknown }).default
    } catch (cause) {
      throw new HypercoreMissingError(
        'Hypercores are read with the optional packages hypercore and hypercore-storage: install them.',
        { cause },
      )
    }
  }
  const caps = (await load(`${HYPERCORE}/lib/caps.js`)) as Pick<HypercoreModules, 'treeSignable'>
  return {
    Storage: (await load(`${HYPERCORE}-storage`)) as HypercoreModules['Storage'],
    Hypercore: (await load(HYPERCORE)) as HypercoreModules['Hypercore'],
    crypto: (await load(`${HYPERCORE}-crypto`)) as HypercoreModules['crypto'],
    Verifier: (await load(`${HYPERCORE}/lib/verifier.js`)) as HypercoreModules['Verifier'],
    treeSignable: caps.treeSignable,
  }
}
