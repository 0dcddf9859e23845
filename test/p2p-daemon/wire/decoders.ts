import type { z } from 'zod'

import {
  revocationAnswerSchema,
  revocationRequestSchema,
} from '../../../p2p-daemon/access/revocation-protocol.ts'
import * as agents from '../../../p2p-daemon/agents/announcement.ts'
import { recordKey, rootKey } from '../../../p2p-daemon/dht/keys.ts'
import {
  providerAnswerSchema,
  providerRequestSchema,
} from '../../../p2p-daemon/dht/provider-protocol.ts'
import { checkRecord } from '../../../p2p-daemon/dht/record-rules.ts'
import { decodeMessage } from '../../../p2p-daemon/lifetime/message.ts'
import { pinAnswerSchema, pinRequestSchema } from '../../../p2p-daemon/lifetime/pin-protocol.ts'
import {
  grantAnswerSchema,
  quotaRequestSchema,
  usageAnswerSchema,
} from '../../../p2p-daemon/lifetime/quota-protocol.ts'
import {
  openAnswerSchema,
  pageAnswerSchema,
  rootRequestSchema,
  touchAnswerSchema,
} from '../../../p2p-daemon/lifetime/root-protocol.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import * as nodes from '../../../p2p-daemon/mesh/node-info.ts'
import { decodeAnswer } from '../../../p2p-daemon/mesh/request-protocol.ts'
import * as membership from '../../../p2p-daemon/nodes/membership-protocol.ts'
import { parsePolicy } from '../../../p2p-daemon/ownership/policy.ts'
import * as records from '../../../p2p-daemon/records/record-protocol.ts'
import * as copies from '../../../p2p-daemon/replication/copy-protocol.ts'
import * as replication from '../../../p2p-daemon/replication/replication-protocol.ts'
import { encodeFrame, FrameDecoder } from '../../../p2p-daemon/transfer/bulk-frame.ts'
import * as ranges from '../../../p2p-daemon/transfer/range-message.ts'
import {
  InvalidAddressError,
  InvalidRecordError,
  InvalidRequestError,
  ProtocolViolationError,
  RemoteError,
} from '../../../shared/errors.ts'
import { parsePattern } from '../../../shared/address/pattern.ts'
import { encodeRecord, decodeRecord, recordHash } from '../../../shared/record/record.ts'
import { makeRecord } from '../../helpers/record.ts'

/** Everything that reads bytes of a peer. */
export interface Decoder {
  name: string
  decode: (bytes: Uint8Array) => unknown
  /** What it reads without complaint. */
  samples: Uint8Array[]
  /** What it may say to everything else. */
  refusals: readonly (new (...args: never[]) => Error)[]
}

const KEY = createNodeKey()
const HASH = 'ab'.repeat(32)
const RECORD = makeRecord({ address: 'bzzz://agent@project/x' }, KEY)
const MERGED = makeRecord(
  { address: RECORD.address, version: 2, previous: recordHash(RECORD), merged: [HASH] },
  KEY,
)
const TEXT = records.recordToText(RECORD)
const REPORT = {
  draining: false,
  drained: false,
  remaining: 0,
  blobs: 1,
  bytes: 2,
  owed: 0,
  underReplicated: 0,
}
const CLAIM = {
  kind: 'pin',
  key: HASH,
  hash: HASH,
  subject: 'me',
  reason: 'because',
  createdMs: 1,
  expiresMs: null,
  updatedMs: 1,
  peerId: KEY.peerId,
  deleted: false,
}
const NODE = {
  peerId: KEY.peerId,
  name: 'walnut',
  version: '2.0.0',
  roles: ['mcp'],
  storage: true,
  weight: 1,
  zone: 'default',
  bulkPort: 9200,
}

const json = (...values: object[]): Buffer[] =>
  values.map((value) => Buffer.from(JSON.stringify(value)))

function message(name: string, schema: z.ZodType, ...samples: object[]): Decoder {
  const decode = (bytes: Uint8Array): unknown => decodeMessage(schema, bytes)
  return { name, decode, samples: json(...samples), refusals: [ProtocolViolationError] }
}

const RECORDS: Decoder[] = [
  {
    name: 'records, request',
    decode: records.decodeRequest,
    samples: json(
      { op: 'commit', record: TEXT },
      { op: 'store', record: TEXT },
      { op: 'head', name: RECORD.address },
      { op: 'version', name: RECORD.address, version: 3 },
      { op: 'at', name: RECORD.address, timestampMs: 5 },
      { op: 'history', name: RECORD.address, before: 9, limit: 3 },
      { op: 'record', hash: HASH },
      { op: 'ends', name: RECORD.address },
      {
        op: 'search',
        pattern: 'bzzz://*@p/',
        projects: ['*'],
        forked: false,
        after: '',
        limit: 9,
      },
      { op: 'tips', after: { name: RECORD.address, version: 1, hash: HASH } },
    ),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'records, answer',
    decode: records.decodeAnswer,
    samples: json(
      { outcome: 'ok', records: [TEXT], forks: 1, holders: [KEY.peerId] },
      { outcome: 'conflict', tips: [{ name: RECORD.address, version: 1, hash: HASH }] },
    ),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'record',
    decode: (bytes) => {
      // Only one text means this record.
      if (!encodeRecord(decodeRecord(bytes)).equals(bytes)) throw new Error('another encoding')
    },
    samples: [encodeRecord(RECORD), encodeRecord(MERGED)],
    refusals: [InvalidRecordError],
  },
  {
    name: 'record, signed',
    decode: (bytes) => {
      const record = records.recordFromText(Buffer.from(bytes).toString())
      const genuine = [RECORD, MERGED].map(recordHash)
      if (!genuine.includes(recordHash(record))) throw new Error('a forged record')
    },
    samples: [encodeRecord(RECORD), encodeRecord(MERGED)],
    refusals: [InvalidRecordError],
  },
  {
    name: 'record in the table',
    decode: (bytes) =>
      checkRecord(recordKey(RECORD.address), bytes, {
        isAuthorAllowed: () => true,
        mayStand: () => true,
      }),
    samples: [encodeRecord(RECORD)],
    refusals: [InvalidRecordError],
  },
  {
    name: 'search',
    decode: (bytes) => parsePattern(Buffer.from(bytes).toString()),
    samples: ['bzzz://*:*@apollo:*/plans/**', 'a@b/c'].map((text) => Buffer.from(text)),
    refusals: [InvalidAddressError],
  },
  {
    name: 'policy',
    decode: parsePolicy,
    samples: json({
      rules: [{ project: 'apollo', agent: 'bot-*', authors: [KEY.peerId] }],
      editors: [KEY.peerId],
    }),
    refusals: [InvalidRequestError],
  },
]

const NODES: Decoder[] = [
  {
    name: 'node',
    decode: (bytes) => nodes.decodeAnnouncement(bytes, KEY.peerId),
    samples: json({
      node: NODE,
      addresses: ['/ip4/127.0.0.1/tcp/9101'],
      peers: [{ peerId: KEY.peerId, addresses: [] }],
    }),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'agents',
    decode: agents.decodeAnnouncement,
    samples: json({ epoch: 1, sequence: 2, complete: true, agents: [], withdrawn: ['a@b'] }),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'membership, request',
    decode: membership.decodeRequest,
    samples: json(
      { op: 'report' },
      { op: 'drain', drain: true },
      {
        op: 'remove',
        removals: [
          {
            id: '7b4f2f0e-5d8e-4d5f-9a59-6d1d8d9b2c11',
            peerId: KEY.peerId,
            name: 'walnut',
            removedAt: '2026-01-01T00:00:00.000Z',
          },
        ],
      },
    ),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'membership, answer',
    decode: membership.decodeAnswer,
    samples: json({ report: REPORT }),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'answer of any protocol',
    decode: decodeAnswer,
    samples: [
      Buffer.from([0, 1, 2, 3]),
      Buffer.concat([Buffer.from([1]), ...json({ code: 'BZZZ_X', message: 'm', details: {} })]),
    ],
    refusals: [ProtocolViolationError, RemoteError],
  },
]

const BLOBS: Decoder[] = [
  {
    name: 'copies',
    decode: copies.decodeCopies,
    samples: [
      copies.encodeCopies([{ hash: HASH, bytes: Buffer.from('a') }]),
      copies.encodeCopies([
        { hash: HASH, bytes: Buffer.alloc(0), heldFor: KEY.peerId },
        { hash: HASH, bytes: Buffer.alloc(300, 1) },
      ]),
    ],
    refusals: [ProtocolViolationError],
  },
  {
    name: 'copies, answer',
    decode: copies.decodeHeld,
    samples: [copies.encodeHeld([true, false])],
    refusals: [ProtocolViolationError],
  },
  {
    name: 'replication, request',
    decode: replication.decodeRequest,
    samples: json(
      { op: 'have', hash: HASH },
      { op: 'which', hashes: [HASH] },
      { op: 'hold', hash: HASH, sizeBytes: 3, heldFor: KEY.peerId },
    ),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'replication, answer',
    decode: replication.decodeAnswer,
    samples: json({ sizeBytes: 3 }, { sizeBytes: null }, { held: [true, false] }),
    refusals: [ProtocolViolationError],
  },
  {
    name: 'range of a blob',
    decode: ranges.decodeMessage,
    samples: [
      ranges.encodeMessage({ type: 'range', hash: HASH, start: 0, length: 100 }),
      ranges.encodeMessage({ type: 'head', sizeBytes: 100, start: 0, length: 100 }),
      ranges.encodeMessage({ type: 'data', bytes: Buffer.from('data') }),
      ranges.encodeMessage({ type: 'error', code: 'BZZZ_X', message: 'm', sizeBytes: 3 }),
    ],
    refusals: [ProtocolViolationError],
  },
  {
    name: 'bulk frames',
    decode: (bytes) => {
      const nothing = (): void => undefined
      new FrameDecoder({ onMessage: nothing, onData: nothing }).push(bytes)
    },
    samples: [
      Buffer.concat([
        encodeFrame(1, { type: 'range', hash: HASH, start: 0, length: 100 }),
        encodeFrame(2, { type: 'ping' }),
        encodeFrame(1, { type: 'error', code: 'BZZZ_X', message: 'm' }),
      ]),
    ],
    refusals: [ProtocolViolationError],
  },
]

const MESSAGES: Decoder[] = [
  message(
    'providers, request',
    providerRequestSchema,
    { op: 'have', keys: [rootKey(HASH), 'capability/model/x'] },
    { op: 'withdraw', keys: [rootKey(HASH)] },
  ),
  message('providers, answer', providerAnswerSchema, { keys: [rootKey(HASH)] }),
  message(
    'pins, request',
    pinRequestSchema,
    { op: 'keep', claims: [CLAIM] },
    { op: 'since', epoch: 'e', sequence: 4 },
  ),
  message('pins, answer', pinAnswerSchema, {
    claims: [CLAIM],
    epoch: 'e',
    sequence: 4,
    more: false,
  }),
  message(
    'quotas, request',
    quotaRequestSchema,
    { op: 'since', epoch: 'e', sequence: 4 },
    { op: 'reserve', project: 'apollo', hash: HASH, sizeBytes: 7 },
    { op: 'release', project: 'apollo', hash: HASH },
  ),
  message('quotas, usage', usageAnswerSchema, {
    rows: [{ project: 'apollo', hash: HASH, sizeBytes: 7 }],
    epoch: 'e',
    sequence: 1,
  }),
  message(
    'quotas, grant',
    grantAnswerSchema,
    { refused: { used: 1, limit: 2 } },
    { refused: null },
  ),
  message(
    'roots, request',
    rootRequestSchema,
    { op: 'open' },
    { op: 'page', source: 'records', after: '' },
    { op: 'touch', hash: HASH },
  ),
  message('roots, open', openAnswerSchema, {
    members: [KEY.peerId],
    sources: ['pins'],
    hold: null,
  }),
  message('roots, page', pageAnswerSchema, { hashes: 'AAAA', next: '5' }),
  message('roots, touch', touchAnswerSchema, { sizeBytes: 5 }),
  message(
    'revocations, request',
    revocationRequestSchema,
    { op: 'keep', statements: ['x'] },
    { op: 'list', after: '' },
  ),
  message('revocations, answer', revocationAnswerSchema, { statements: ['x'], next: null }),
]

export const DECODERS: readonly Decoder[] = [...RECORDS, ...NODES, ...BLOBS, ...MESSAGES]
