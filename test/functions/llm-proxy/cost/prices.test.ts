import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { FilePrices } from '../../../../functions/llm-proxy/cost/prices.ts'
import { hashBytes } from '../../../../shared/blob/hash.ts'
import { NO_USAGE } from '../../../../shared/llm/model-usage.ts'
import { createSilentLogger } from '../../../../shared/log/log.ts'

const usage = { ...NO_USAGE, inputTokens: 1 }

let folder: string
let prices: FilePrices
const file = () => join(folder, 'prices.json')

const write = (usdPerToken: unknown) =>
  writeFile(file(), JSON.stringify({ m: { input_cost_per_token: usdPerToken } }))

describe('prices', () => {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bzzz-prices-'))
    prices = new FilePrices({ log: createSilentLogger() }, { path: file(), pollMs: 5 })
  })
  afterEach(async () => {
    await prices.stop()
    await rm(folder, { recursive: true })
  })

  it('come from the file, whose hash they name', async () => {
    await write(1e-6)
    await prices.start()
    expect(prices.hash).toBe(hashBytes(Buffer.from(prices.text)))
    expect(prices.cost('m', usage)).toEqual({
      ...{ nanoUsd: 1_000n, priced: true, priceMapHash: prices.hash },
    })
  })

  it('change with the file, and stay as they are while it is not good', async () => {
    await write(1e-6)
    await prices.start()
    const before = prices.hash
    await write(2e-6)
    await expect.poll(() => prices.cost('m', usage).nanoUsd).toBe(2_000n)
    expect(prices.hash).not.toBe(before)
    await write('dear')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(prices.cost('m', usage).nanoUsd).toBe(2_000n)
    await write(3e-6)
    await expect.poll(() => prices.cost('m', usage).nanoUsd).toBe(3_000n)
  })

  it('do not start from a file that is not there or not good', async () => {
    await expect(prices.start()).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
    await write('dear')
    await expect(prices.start()).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
  })
})
