import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createToken, createTokenKey } from '../../shared/auth/token.ts'
import { startChild } from './child.ts'

/** Three nodes see each other within a second or two; longer means that they do not. */
const MESH_TIMEOUT_MS = 20_000

export interface Nodes {
  urls: string[]
  token: string
  tokenKeysFile: string
  stop(): Promise<void>
}

/** The project's own daemons as processes on free ports, joined into one mesh. */
export async function startNodes(count: number): Promise<Nodes> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-'))
  const { privateKey, publicKeys } = await createTokenKey()
  const tokenKeysFile = join(dir, 'token-keys.json')
  await writeFile(tokenKeysFile, JSON.stringify(publicKeys))
  const request = { subject: 'bench', role: 'admin', lifetimeSeconds: 3600 } as const
  const token = await createToken(privateKey, request)

  const ports = await freePorts(2 * count)
  const names = Array.from({ length: count }, (_, index) => `node${index + 1}`)
  const children = await Promise.all(
    names.map((name, index) =>
      startChild<{ peerId: string }>(new URL('../../p2p-daemon/main.ts', import.meta.url), {
        env: {
          BZZZ_NODE_NAME: name,
          BZZZ_DATA_DIR: join(dir, name),
          BZZZ_HTTP_PORT: String(ports[2 * index]),
          BZZZ_P2P_PORT: String(ports[2 * index + 1]),
          BZZZ_BULK_PORT: '0',
          DHT_BOOTSTRAP_NODES: `127.0.0.1:${ports[1]}`,
          BZZZ_TOKEN_KEYS_FILE: tokenKeysFile,
          BZZZ_LOG_LEVEL: 'error',
        },
      }),
    ),
  )
  const peers = children.map((child, index) => ({ peerId: child.ready.peerId, name: names[index] }))
  for (const name of names) {
    await writeFile(join(dir, name, 'config', 'peers.json'), JSON.stringify({ peers }))
  }
  const urls = names.map((_, index) => `http://127.0.0.1:${ports[2 * index]}`)
  await waitForMesh(urls, token)
  return {
    urls,
    token,
    tokenKeysFile,
    stop: async () => {
      await Promise.all(children.map((child) => child.stop()))
      await rm(dir, { recursive: true })
    },
  }
}

async function waitForMesh(urls: string[], token: string): Promise<void> {
  const deadline = Date.now() + MESH_TIMEOUT_MS
  for (const url of urls) {
    for (;;) {
      const answer = await fetch(`${url}/v1/peers`, {
        headers: { authorization: `Bearer ${token}` },
      })
      const { peers } = (await answer.json()) as { peers: unknown[] }
      if (peers.length === urls.length - 1) break
      if (Date.now() > deadline) throw new Error(`${url} sees ${peers.length} peers.`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
