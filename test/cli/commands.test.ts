import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { runCli } from '../../cli/cli.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { createCommandHost } from '../helpers/command-host.ts'

const CONTENT = Buffer.from('what the address names')
const ADDRESS = 'bzzz://me@demo/a.txt'

let folder: string
let server: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-cli-'))
  server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

function url(): string {
  if (!server.listening) return ''
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function run(
  args: string[],
  init: { env?: Record<string, string>; stdin?: Buffer<ArrayBuffer> } = {},
) {
  const env = { BZZZ_URL: url(), BZZZ_TOKEN: 'bzzz_x', BZZZ_DATA: folder, ...init.env }
  const { host, stdout, stderr } = createCommandHost(env, init.stdin)
  const exitCode = await runCli(args, host)
  return { exitCode, stdout, stderr: stderr.text() }
}

function serve(bytes: Buffer, headers: Record<string, string> = {}): void {
  answer = (_request, response) => {
    response.writeHead(200, { etag: `"${hashBytes(CONTENT)}"`, ...headers })
    response.end(bytes)
  }
}

describe('bzzz get', () => {
  it('writes what arrived to stdout and to a file', async () => {
    serve(CONTENT)
    const { exitCode, stdout } = await run(['get', ADDRESS])
    expect(exitCode).toBe(0)
    expect(stdout.bytes().equals(CONTENT)).toBe(true)

    const file = join(folder, 'out')
    expect((await run(['get', ADDRESS, '-o', file])).exitCode).toBe(0)
    expect((await readFile(file)).equals(CONTENT)).toBe(true)
  })

  it('refuses bytes that do not have the hash and leaves the file as it was', async () => {
    serve(Buffer.from('what the address does not'))
    const file = join(folder, 'out')
    await writeFile(file, 'before')
    const { exitCode, stderr } = await run(['get', ADDRESS, '-o', file])
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/^bzzz: What arrived has the hash .* \(BZZZ_HASH_MISMATCH\)\n$/)
    expect(await readFile(file, 'utf8')).toBe('before')
    expect(await readdir(folder)).toEqual(['out'])
    expect((await run(['get', ADDRESS])).exitCode).toBe(1)
  })

  it('refuses an answer without a hash', async () => {
    serve(CONTENT, { etag: '' })
    expect(await run(['get', ADDRESS])).toMatchObject({ exitCode: 1 })
  })

  it('fails when the content is cut, and leaves no file', async () => {
    answer = (_request, response) => {
      response.writeHead(200, {
        etag: `"${hashBytes(CONTENT)}"`,
        'content-length': CONTENT.length,
      })
      response.write(CONTENT.subarray(0, 5))
      setImmediate(() => response.destroy())
    }
    const { exitCode, stderr } = await run(['get', ADDRESS, '-o', join(folder, 'out')])
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/closed the connection.*\(BZZZ_DAEMON_UNAVAILABLE\)\n$/)
    expect(await readdir(folder)).toEqual([])
  })

  it('asks for the version of the address and shows the error of the other side', async () => {
    const urls: (string | undefined)[] = []
    answer = (request, response) => {
      urls.push(request.url)
      response.writeHead(404)
      response.end('{"error":{"code":"BZZZ_VERSION_NOT_FOUND","message":"There is no version 7."}}')
    }
    const { exitCode, stderr } = await run(['get', 'bzzz://ME@demo/a%20b.txt?v=7#part'])
    expect(exitCode).toBe(1)
    expect(stderr).toBe('bzzz: There is no version 7. (BZZZ_VERSION_NOT_FOUND)\n')
    expect(urls).toEqual(['/me@demo/a%20b.txt?v=7'])
  })

  it('says so when a folder stands in the way', async () => {
    serve(CONTENT)
    const { exitCode, stderr } = await run(['get', ADDRESS, '-o', join(folder, 'no/such/file')])
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/cannot be written \(ENOENT\)\. \(BZZZ_REQUEST_INVALID\)\n$/)
  })

  it('says who does not answer', async () => {
    const closed = url()
    server.close()
    await once(server, 'close')
    const { exitCode, stderr } = await run(['get', ADDRESS], { env: { BZZZ_URL: closed } })
    expect(exitCode).toBe(1)
    expect(stderr).toBe(
      `bzzz: ${closed} does not answer: is bzzz up running there? BZZZ_URL and --data name another. (BZZZ_DAEMON_UNAVAILABLE)\n`,
    )
  })
})

describe('bzzz put', () => {
  const written = {
    address: ADDRESS,
    version: 3,
    hash: hashBytes(CONTENT),
    size: CONTENT.length,
    mediaType: 'text/plain',
    replicas: ['a', 'b', 'c'],
  }

  function receive(): { headers: IncomingMessage['headers']; url: string; body: Buffer }[] {
    const received: ReturnType<typeof receive> = []
    answer = async (request, response) => {
      const body = await buffer(request)
      received.push({ headers: request.headers, url: request.url ?? '', body })
      response.end(JSON.stringify(written))
    }
    return received
  }

  it('sends a file with its size and the type of its extension', async () => {
    const received = receive()
    const file = join(folder, 'plan.md')
    await writeFile(file, CONTENT)
    const { exitCode, stdout } = await run(['put', file, ADDRESS])
    expect(exitCode).toBe(0)
    expect(received[0]).toMatchObject({
      url: '/me@demo/a.txt',
      body: CONTENT,
      headers: {
        'content-type': 'text/markdown',
        'content-length': String(CONTENT.length),
        authorization: 'Bearer bzzz_x',
      },
    })
    expect(stdout.text()).toBe(
      `${ADDRESS}  version 3  22 B  3 copies\nbzzz://b3/${hashBytes(CONTENT)}\n`,
    )
  })

  it('sends stdin with conditions and prints JSON', async () => {
    const received = receive()
    const args = ['put', '-', ADDRESS, '--type', 'a/b', '--if-match', 'ab', '--version', '2']
    const { stdout } = await run([...args, '--json'], { stdin: CONTENT })
    expect(received[0]).toMatchObject({
      url: '/me@demo/a.txt?version=2',
      body: CONTENT,
      headers: { 'content-type': 'a/b', 'if-match': '"ab"' },
    })
    expect(JSON.parse(stdout.text())).toEqual(written)
  })

  it('shows a conflict', async () => {
    answer = (request, response) => {
      request.resume()
      response.writeHead(409)
      response.end(
        '{"error":{"code":"BZZZ_VERSION_CONFLICT","message":"It moved on."},"current":{}}',
      )
    }
    const { exitCode, stderr } = await run(['put', '-', ADDRESS], { stdin: CONTENT })
    expect(exitCode).toBe(1)
    expect(stderr).toBe('bzzz: It moved on. (BZZZ_VERSION_CONFLICT)\n')
  })

  it('says so when the file is not there, or is a folder', async () => {
    const missing = await run(['put', join(folder, 'none'), ADDRESS])
    expect(missing.stderr).toMatch(/none cannot be read \(ENOENT\)\. \(BZZZ_REQUEST_INVALID\)\n$/)
    const directory = await run(['put', folder, ADDRESS])
    expect(directory.stderr).toMatch(/is a folder, not a file\. \(BZZZ_REQUEST_INVALID\)\n$/)
    expect([missing.exitCode, directory.exitCode]).toEqual([1, 1])
  })

  it('refuses an address that cannot be written before it sends anything', async () => {
    const received = receive()
    for (const address of [`bzzz://b3/${hashBytes(CONTENT)}`, 'nonsense']) {
      const { exitCode, stderr } = await run(['put', '-', address], { stdin: CONTENT })
      expect(exitCode).toBe(1)
      expect(stderr).toContain('(BZZZ_ADDRESS_INVALID)')
    }
    expect(received).toEqual([])
  })
})

describe('bzzz', () => {
  it('exits with 2 and a hint when it is used wrongly', async () => {
    for (const args of [
      ['put'],
      ['up', '--nodes', '10'],
      ['nonsense'],
      ['get', 'a', '--no-such'],
    ]) {
      const { exitCode, stderr } = await run(args)
      expect(exitCode).toBe(2)
      expect(stderr).toMatch(/^bzzz: /)
      expect(stderr).toContain('(bzzz --help says more)')
    }
  })

  it('names every way to give it a token', async () => {
    const { exitCode, stderr } = await run(['get', ADDRESS], { env: { BZZZ_TOKEN: '' } })
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/BZZZ_TOKEN_FILE.*--data.*\(BZZZ_TOKEN_MISSING\)\n$/)
  })
})
