import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { OWNERSHIP_NAME } from '../../../p2p-daemon/ownership/constants.ts'
import { encodePolicy, type Policy } from '../../../p2p-daemon/ownership/policy.ts'
import {
  encodeMessage,
  RECORD_PROTOCOL,
  recordToText,
} from '../../../p2p-daemon/records/record-protocol.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { AuthorNotAllowedError, VersionConflictError } from '../../../shared/errors.ts'
import { recordHash, type AddressRecord } from '../../../shared/record/record.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { startRecordNode, type RecordNode } from '../../helpers/record-node.ts'

const NAME = 'bzzz://writer@apollo/plan.md'

let network: MemoryNetwork
let contents: MemoryStore
let nodes: RecordNode[]

/** Five: an address has three holders, and the policy must reach the others too. */
beforeEach(async () => {
  network = new MemoryNetwork()
  contents = new MemoryStore()
  await contents.start()
  nodes = []
  for (let index = 0; index < 5; index += 1) nodes.push(await startRecordNode(network, contents))
})

afterEach(() => Promise.all(nodes.map((node) => node.close())))

function content(text: string) {
  const bytes = Buffer.from(text)
  return { hash: hashBytes(bytes), sizeBytes: bytes.length, mediaType: 'text/plain' }
}

async function setPolicy(by: RecordNode, policy: Policy, ifVersion: number): Promise<void> {
  const bytes = encodePolicy(policy)
  const { hash, sizeBytes } = await contents.put(bytes)
  const written = { hash, sizeBytes, mediaType: 'application/json' }
  await by.service.write(OWNERSHIP_NAME, written, { ifVersion })
  for (const node of nodes) await node.watch.refresh()
}

const onlyFor = (...owners: RecordNode[]): Policy => ({
  rules: [{ project: 'apollo', authors: owners.map(({ peerId }) => peerId) }],
})

/** What a node that does not look at the policy would send. */
function sendStore(from: RecordNode, to: RecordNode, record: AddressRecord): Promise<Uint8Array> {
  const request = encodeMessage({ op: 'store', record: recordToText(record) })
  return from.mesh.request(to.peerId, RECORD_PROTOCOL, request)
}

function forge(by: RecordNode, after: AddressRecord, timestampMs = Date.now()): AddressRecord {
  const { version } = after
  const fields = { ...after, ...content('forged'), version: version + 1, timestampMs }
  return by.sign({ ...fields, previous: recordHash(after) }, by.peerId)
}

describe('ownership of addresses', () => {
  it('is held by every node, and no other address is touched', async () => {
    const [owner, stranger] = nodes as [RecordNode, RecordNode]
    await setPolicy(owner, onlyFor(owner), 0)
    for (const node of nodes) expect(node.ownership.current()?.record.version).toBe(1)
    await owner.service.write(NAME, content('mine'))
    const refused = stranger.service.write(NAME, content('not mine'))
    await expect(refused).rejects.toBeInstanceOf(AuthorNotAllowedError)
    await stranger.service.write('bzzz://writer@zeus/plan.md', content('free'))
  })

  it('refuses a record that the author may not write, on every road', async () => {
    const [owner, stranger, ...others] = nodes as [RecordNode, RecordNode, ...RecordNode[]]
    const { record } = await owner.service.write(NAME, content('mine'))
    await setPolicy(owner, onlyFor(owner), 0)
    const now = forge(stranger, record)
    // A clock set back: older than the policy, and only its author says so.
    const backdated = forge(stranger, record, record.timestampMs)
    for (const forged of [now, backdated]) {
      for (const node of [owner, ...others]) {
        await expect(sendStore(stranger, node, forged)).rejects.toThrow('AuthorNotAllowedError')
        expect(node.store.byHash(recordHash(forged))).toBeUndefined()
        expect(node.refused).toContain('policy')
      }
      // Answered with as its head by the stranger itself.
      stranger.store.add(forged)
      for (const node of others) {
        const found = await node.lookup.head(NAME, { fresh: true })
        expect(found.record).toEqual(record)
        const query = { pattern: NAME, projects: ['*'], after: '', limit: 9 }
        expect((await node.search.find(query)).items).toEqual([record])
      }
    }
  })

  it('takes an old record from those who kept it, whoever wrote it', async () => {
    const [owner, writer] = nodes as [RecordNode, RecordNode]
    const { record } = await writer.service.write(NAME, content('before the policy'))
    // Timers may fire a millisecond early, and the policy has to be the later one.
    await new Promise((resolve) => setTimeout(resolve, 20))
    await setPolicy(owner, onlyFor(owner), 0)
    for (const node of nodes) {
      const head = await node.lookup.head(NAME, { fresh: true })
      expect(head.record).toEqual(record)
    }
    const { record: next } = await owner.service.write(NAME, content('after it'))
    expect(next).toMatchObject({ version: 2, previous: recordHash(record) })
    const late = await startRecordNode(network, contents)
    nodes.push(late)
    await late.watch.refresh()
    expect(late.ownership.current()?.record.version).toBe(1)
    expect((await late.lookup.head(NAME, { fresh: true })).record).toEqual(next)
    const history = await late.lookup.history(NAME, { before: 9, limit: 9 })
    expect(history.map(({ version }) => version)).toEqual([2, 1])
  })

  it('is changed by its editors, one at a time', async () => {
    const [editor, other] = nodes as [RecordNode, RecordNode]
    const first: Policy = { ...onlyFor(editor), editors: [editor.peerId] }
    await setPolicy(editor, first, 0)
    const byOther = setPolicy(other, { rules: [] }, 1)
    await expect(byOther).rejects.toBeInstanceOf(AuthorNotAllowedError)
    const stale = setPolicy(editor, { rules: [] }, 0)
    await expect(stale).rejects.toBeInstanceOf(VersionConflictError)
    await setPolicy(editor, { ...onlyFor(editor, other), editors: [editor.peerId] }, 1)
    await other.service.write(NAME, content('allowed now'))
    for (const node of nodes) expect(node.ownership.versions()).toHaveLength(2)
  })

  it('stays as it is when a version of it is no policy', async () => {
    const [owner, stranger] = nodes as [RecordNode, RecordNode]
    await setPolicy(owner, onlyFor(owner), 0)
    await contents.put(Buffer.from('no policy'))
    await owner.service.write(OWNERSHIP_NAME, content('no policy'))
    for (const node of nodes) await node.watch.refresh()
    const refused = stranger.service.write(NAME, content('not mine'))
    await expect(refused).rejects.toBeInstanceOf(AuthorNotAllowedError)
    await setPolicy(owner, onlyFor(owner, stranger), 2)
    await stranger.service.write(NAME, content('mine too'))
  })
})
