import { describe, expect, it } from 'vitest'

import {
  JOIN_CONVERSATIONS_MAX,
  JOIN_REQUEST_BYTES_MAX,
} from '../../../p2p-daemon/join/constants.ts'
import { Door } from '../../../p2p-daemon/join/door.ts'
import { knock, TurnedAwayError } from '../../../p2p-daemon/join/knock.ts'
import { createConnectionGater } from '../../../p2p-daemon/mesh/connection-gater.ts'
import { createHost } from '../../../p2p-daemon/mesh/host.ts'
import type { RequestHandler } from '../../../p2p-daemon/mesh/mesh.ts'
import { createNAT, NAT_OFF } from '../../../p2p-daemon/mesh/nat.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { until } from '../../helpers/mesh.ts'

const never = new AbortController().signal

/** A node that lets nobody in and has a door. */
async function openDoor(handler: RequestHandler) {
  const registry = new Registry()
  const door = new Door({ log: createSilentLogger(), registry })
  let open = true
  door.serve({ isOpen: () => open, handler })
  const nodeKey = createNodeKey()
  const host = await createHost({
    nodeKey,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    connectionGater: createConnectionGater({
      selfId: nodeKey.peerId,
      isAllowed: () => false,
      onDenied: () => undefined,
    }),
    services: new Map(),
    nat: createNAT(NAT_OFF),
    door: door.encrypter,
  })
  await host.start()
  const [address] = host.getMultiaddrs()
  const ask = (payload: Uint8Array) =>
    knock(
      {
        nodeKey: createNodeKey(),
        peerId: nodeKey.peerId,
        addresses: [address!.decapsulate('/p2p').toString()],
        networkKey: undefined,
        payload,
      },
      never,
    )
  return {
    ask,
    close: () => (open = false),
    count: async (result: string) => {
      const line = new RegExp(`bzzz_door_knocks_total\\{result="${result}"\\} (\\d+)`)
      return Number(line.exec(await registry.metrics())?.[1] ?? 0)
    },
    connections: () => host.getConnections().length,
    [Symbol.asyncDispose]: async () => host.stop(),
  }
}

const echo: RequestHandler = async ({ payload }) => payload

describe('door', () => {
  it('gives one answer, and there is no connection afterwards', async () => {
    await using door = await openDoor(echo)
    expect(Buffer.from(await door.ask(Buffer.from('hello'))).toString()).toBe('hello')
    expect(door.connections()).toBe(0)
  })

  it('says in one sentence what the handler throws', async () => {
    await using door = await openDoor(async () => {
      throw new Error('secret inner working')
    })
    await expect(door.ask(Buffer.from('hello'))).rejects.toMatchObject({
      code: 'BZZZ_INTERNAL',
      message: 'The request failed inside the server.',
    })
  })

  it('hears nobody while it is closed', async () => {
    await using door = await openDoor(echo)
    door.close()
    await expect(door.ask(Buffer.from('hello'))).rejects.toThrow(TurnedAwayError)
    expect(await door.count('closed')).toBe(1)
    expect(await door.count('heard')).toBe(0)
  })

  it('reads no more than a request, and goes on', async () => {
    const sizes: number[] = []
    await using door = await openDoor(async ({ payload }) => {
      sizes.push(payload.length)
      return payload
    })
    await expect(door.ask(Buffer.alloc(1024 * 1024))).rejects.toThrow(TurnedAwayError)
    await door.ask(Buffer.alloc(JOIN_REQUEST_BYTES_MAX))
    expect(sizes).toEqual([JOIN_REQUEST_BYTES_MAX])
  })

  it('turns away who comes while it is crowded', async () => {
    const release = Promise.withResolvers<void>()
    await using door = await openDoor(async ({ payload }) => {
      await release.promise
      return payload
    })
    const asked = Array.from({ length: JOIN_CONVERSATIONS_MAX }, () => door.ask(Buffer.from('a')))
    await until(async () => (await door.count('heard')) === JOIN_CONVERSATIONS_MAX, 'a crowd')
    await expect(door.ask(Buffer.from('b'))).rejects.toThrow(TurnedAwayError)
    expect(await door.count('crowded')).toBe(1)
    release.resolve()
    await Promise.all(asked)
  })
})
