import { describe, expect, it } from 'vitest'

import { readGatewayConfig } from '../../../gateway/config.ts'
import { openJobs } from '../../../gateway/jobs/gateway-jobs.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'

describe('gateway-jobs', () => {
  it.each([
    ['127.0.0.1', undefined, true],
    ['localhost', undefined, true],
    ['::1', 'auto', true],
    ['0.0.0.0', undefined, false],
    ['::', 'auto', false],
    ['10.0.0.7', 'on', true],
    ['127.0.0.1', 'off', false],
  ])('at %s, told %s, takes calls without a token: %s', async (host, told, expected) => {
    const config = readGatewayConfig({
      BZZZ_HOST: host,
      BZZZ_TOKEN_KEYS_FILE: 'keys.json',
      ...(told !== undefined && { BZZZ_ASYNC_ANONYMOUS: told }),
    })
    const jobs = openJobs(config, { log: createSilentLogger() })
    expect(jobs.anonymous).toBe(expected)
    expect(() => jobs.queue()).toThrow(expect.objectContaining({ code: 'BZZZ_QUEUE_UNAVAILABLE' }))
    await jobs.close()
  })
})
