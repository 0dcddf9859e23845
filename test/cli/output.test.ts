import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'

import { describe, expect, it } from 'vitest'

import { failureText } from '../../cli/failure.ts'
import { formatBytes, formatUptime, shortPeerId } from '../../cli/output/format.ts'
import { createProgress } from '../../cli/output/progress.ts'
import { formatPairs, formatTable } from '../../cli/output/table.ts'
import { formatSummary } from '../../cli/up/summary.ts'
import { PortInUseError } from '../../shared/errors.ts'
import { createOutput } from '../helpers/command-host.ts'

describe('output', () => {
  it('aligns a table by the widest cell and counts characters, not bytes', () => {
    expect(
      formatTable(
        ['node', 'blobs'],
        [
          ['walnut', '1'],
          ['Zürich…', '20'],
        ],
      ),
    ).toBe('NODE     BLOBS\nwalnut   1\nZürich…  20\n')
    expect(
      formatPairs([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toBe('a     1\nlong  2\n')
  })

  it('shows sizes, times and peers short', () => {
    expect([0, 1023, 1024, 1536, 5 * 1024 ** 3].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '5.0 GiB',
    ])
    expect([59, 60, 7200, 200_000].map(formatUptime)).toEqual(['59 s', '1 min', '2 h', '2 d'])
    expect(shortPeerId('12D3KooWabcdefgh12345678')).toBe('…12345678')
  })

  it('puts the code on the first line of a failure', () => {
    expect(failureText(new PortInUseError('Port 1 is in use.'))).toBe(
      'bzzz: Port 1 is in use. (BZZZ_PORT_IN_USE)\n',
    )
    expect(failureText(new Error('first\nsecond'))).toBe('bzzz: first (BZZZ_INTERNAL)\nsecond\n')
  })

  it('passes all bytes on and draws a bar on a terminal only', async () => {
    const content = Buffer.alloc(3 * 1024 * 1024, 7)
    const through = async (isTTY: boolean) => {
      const output = createOutput({ isTTY })
      const progress = createProgress(output, { label: 'x', sizeBytes: content.length })
      const arrived = await buffer(Readable.from([content]).pipe(progress))
      expect(arrived.equals(content)).toBe(true)
      return output.text()
    }
    expect(await through(false)).toBe('')
    expect(await through(true)).toContain('of 3.0 MiB')
  })

  it('tells where everything is and what to try', () => {
    const text = formatSummary({
      token: 'bzzz_t0ken',
      tookMs: 4321,
      state: {
        pid: 1,
        version: '2.0.0',
        dataDir: '/srv/team/.bzzz',
        tokenFile: '/srv/team/.bzzz/config/admin.token',
        ready: true,
        endpoints: {
          gateway: 'http://127.0.0.1:8080',
          metrics: 'http://127.0.0.1:8082',
          functions: { resolve: 'http://127.0.0.1:3003' },
          nodes: [{ name: 'walnut', http: 'http://127.0.0.1:9000' }],
        },
        processes: {},
      },
    })
    expect(text).toBe(`
bzzz 2.0.0 is ready after 4.3 s. Ctrl-C stops it.

  gateway  http://127.0.0.1:8080   (metrics http://127.0.0.1:8082/metrics)
  resolve  http://127.0.0.1:3003   and http://127.0.0.1:8080/function/resolve
  walnut   http://127.0.0.1:9000
  data     /srv/team/.bzzz
  token    /srv/team/.bzzz/config/admin.token   (admin)

  export BZZZ_TOKEN=bzzz_t0ken

Try:
  curl -H "Authorization: Bearer $BZZZ_TOKEN" -H 'Content-Type: text/plain' \\
       -X PUT --data-binary 'Hello from bzzz.' http://127.0.0.1:3003/me@demo/hello.txt
  curl -H "Authorization: Bearer $BZZZ_TOKEN" http://127.0.0.1:3003/me@demo/hello.txt
  npx bzzz status
`)
  })
})
