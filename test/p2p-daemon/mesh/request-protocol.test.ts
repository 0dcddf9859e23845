import type { Stream } from '@libp2p/interface'
import { streamPair } from '@libp2p/utils'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { MESSAGE_BYTES_MAX } from '../../../p2p-daemon/mesh/constants.ts'
import { answer, ask } from '../../../p2p-daemon/mesh/request-protocol.ts'
import { ProtocolViolationError, RemoteError } from '../../../shared/errors.ts'

const never = new AbortController().signal

/** A frame whose length field says what it likes. */
function frame(payload: Uint8Array, length = payload.length): Buffer {
  const bytes = Buffer.alloc(4 + payload.length)
  bytes.writeUInt32BE(length)
  bytes.set(payload, 4)
  return bytes
}

/** What `ask` makes of a peer that reads nothing and sends these bytes. */
async function answeredWith(bytes: Uint8Array): Promise<unknown> {
  const [near, far] = await streamPair()
  if (bytes.length > 0) far.send(bytes)
  void far.close().catch(() => undefined)
  return ask(near, Buffer.from('?'), never).catch((error: unknown) => error)
}

const errorFrame = (body: unknown): Buffer =>
  frame(Buffer.concat([Uint8Array.of(1), Buffer.from(JSON.stringify(body))]))

describe('request-protocol, asking', () => {
  it('reads an answer', async () => {
    expect(await answeredWith(frame(Buffer.from('\0fine')))).toEqual(
      new TextEncoder().encode('fine'),
    )
  })

  it('reads an error with its details', async () => {
    const body = { code: 'BZZZ_OVERLOADED', message: 'Later.', details: { queue: 7 } }
    const error = await answeredWith(errorFrame(body))
    expect(error).toBeInstanceOf(RemoteError)
    expect(error).toMatchObject({ ...body, status: 429 })
  })

  it.each([
    ['a frame longer than allowed', frame(Buffer.from('x'), MESSAGE_BYTES_MAX + 2)],
    ['a frame of four gigabytes', frame(Buffer.from('x'), 0xffff_ffff)],
    ['an unknown status', frame(Uint8Array.of(9, 1, 2))],
    ['an empty frame', frame(new Uint8Array(0))],
    ['an error that is no JSON', frame(Uint8Array.of(1, 0x7b))],
    ['an error without a code', errorFrame({ message: 'x', details: {} })],
    [
      'an error of endless words',
      errorFrame({ code: 'x', message: 'y'.repeat(2000), details: {} }),
    ],
  ])('calls %s a violation', async (_what, bytes) => {
    expect(await answeredWith(bytes)).toBeInstanceOf(ProtocolViolationError)
  })

  it('settles whatever the peer sends', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        await answeredWith(bytes)
      }),
      { numRuns: 300 },
    )
  })
})

describe('request-protocol, answering', () => {
  /** Lets `answer` serve one stream on which a peer sends these bytes and closes. */
  async function serve(bytes: Uint8Array): Promise<{ calls: Uint8Array[]; near: Stream }> {
    const [near, far] = await streamPair()
    const calls: Uint8Array[] = []
    if (bytes.length > 0) far.send(bytes)
    void far.close().catch(() => undefined)
    await answer(near, 'peer', async ({ payload }) => {
      calls.push(payload)
      return payload
    }).catch(() => undefined)
    return { calls, near }
  }

  it('calls the handler with the payload', async () => {
    const { calls } = await serve(frame(Buffer.from('hello')))
    expect(calls).toEqual([new TextEncoder().encode('hello')])
  })

  it.each([
    ['nothing at all', new Uint8Array(0)],
    ['half a length', Uint8Array.of(0, 0)],
    ['half a frame', frame(Buffer.from('half'), 100)],
    ['a frame longer than allowed', frame(Buffer.from('x'), MESSAGE_BYTES_MAX + 1)],
  ])('does not call the handler for %s, and resets the stream', async (_what, bytes) => {
    const { calls, near } = await serve(bytes)
    expect(calls).toEqual([])
    expect(near.status).toBe('aborted')
  })

  it('settles whatever the peer sends and never passes on more than was framed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        const { calls } = await serve(bytes)
        for (const payload of calls) expect(payload.length).toBeLessThanOrEqual(bytes.length - 4)
      }),
      { numRuns: 300 },
    )
  })
})
