import { describe, expect, it } from 'vitest'

import { WriteGate } from '../../../p2p-daemon/store/store-health.ts'
import { NO_STORE_LOG } from '../../../p2p-daemon/store/store-log.ts'

describe('store-health', () => {
  it.each([
    [13, 'the disk is full'],
    [10, 'the disk reports an input/output error'],
    [10 | (3 << 8), 'the disk reports an input/output error'],
    [8, 'the file system is read-only'],
  ])('says what SQLite met with its code %i: %s', (errcode, reason) => {
    const gate = new WriteGate({ log: NO_STORE_LOG }, { probeIntervalMs: 60_000 })
    const cause = Object.assign(new Error('SQLite'), { code: 'ERR_SQLITE_ERROR', errcode })
    expect(gate.refuse(cause)).toMatchObject({ code: 'BZZZ_STORAGE_UNAVAILABLE' })
    expect(gate.health()).toMatchObject({ writable: false, reason })
  })
})
