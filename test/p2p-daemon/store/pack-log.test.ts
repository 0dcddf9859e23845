import { randomBytes } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { PackLog, type PackLogLimits } from '../../../p2p-daemon/store/pack-log.ts'
import type { PackRecord } from '../../../p2p-daemon/store/segment-writer.ts'
import { PackSegments } from '../../../p2p-daemon/store/pack-segments.ts'
import { WriteGate } from '../../../p2p-daemon/store/store-health.ts'
import { NO_STORE_LOG } from '../../../p2p-daemon/store/store-log.ts'
import { NO_STORE_METRICS } from '../../../p2p-daemon/store/store-metrics.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { FaultyFiles } from './faulty-files.ts'
import { makeTempDir } from './temp-dir.ts'

const LIMITS: PackLogLimits = {
  segmentBytesMax: 1_000_000,
  batchBytesMax: 100_000,
  batchRecordsMax: 50,
  queueBytesMax: 200_000,
  queueRecordsMax: 100,
  overlapBytesMin: 100_000,
  preallocateBytesMax: 0,
}

async function openLog(limits: Partial<PackLogLimits> = {}) {
  const dir = await makeTempDir()
  const files = new FaultyFiles()
  const segments = new PackSegments({ files }, { directory: dir.path, openMax: 4 })
  const published: PackRecord[][] = []
  const log = new PackLog(
    {
      segments,
      gate: new WriteGate({ log: NO_STORE_LOG }, { probeIntervalMs: 1 }),
      metrics: NO_STORE_METRICS,
      publish: (records) => void published.push([...records]),
    },
    { ...LIMITS, ...limits },
  )
  const close = async () => {
    await log.stop()
    segments.closeAll()
    await dir.remove()
  }
  const syncs = () => files.steps.filter(({ step }) => step === 'datasync').length
  return { log, files, segments, published, syncs, [Symbol.asyncDispose]: close }
}

function entry(sizeBytes: number) {
  const payload = randomBytes(sizeBytes)
  return { kind: 'blob' as const, hash: hashBytes(payload), value: sizeBytes, payload }
}

describe('pack-log', () => {
  it('commits everything that waits with one sync', async () => {
    await using opened = await openLog()
    const { log, syncs, published } = opened
    await log.append(entry(10))
    const before = syncs()
    await Promise.all(Array.from({ length: 40 }, () => log.append(entry(100))))
    expect(syncs() - before).toBe(1)
    expect(published.map((records) => records.length)).toEqual([1, 40])
  })

  it('lets the writers just acknowledged share the next batch', async () => {
    await using opened = await openLog()
    const { log, syncs } = opened
    await log.append(entry(10))
    const before = syncs()
    const writer = async () => {
      for (let turn = 0; turn < 10; turn += 1) await log.append(entry(50))
    }
    await Promise.all(Array.from({ length: 16 }, writer))
    expect(syncs() - before).toBe(10)
  })

  it('bounds a batch by bytes and by records', async () => {
    await using opened = await openLog()
    const { log, published } = opened
    await Promise.all(Array.from({ length: 30 }, () => log.append(entry(10_000))))
    for (const records of published) expect(records.length).toBeLessThanOrEqual(9)
    published.length = 0
    await Promise.all(Array.from({ length: 120 }, () => log.append(entry(1))))
    expect(published.map((records) => records.length)).toEqual([50, 50, 20])
  })

  it('takes a record that is larger than a batch', async () => {
    await using opened = await openLog({ batchBytesMax: 1000, queueBytesMax: 1000 })
    const records = await Promise.all([5000, 6000].map((size) => opened.log.append(entry(size))))
    expect(records.map(({ payloadBytes }) => payloadBytes)).toEqual([5000, 6000])
  })

  it('makes puts wait while the queue is full, and lets them go when they are aborted', async () => {
    await using opened = await openLog({ queueRecordsMax: 5, batchRecordsMax: 2 })
    const { log, files } = opened
    let release = () => {}
    const blocked = new Promise<void>((resolve) => (release = resolve))
    const open = files.open.bind(files)
    files.open = async (path, mode) => {
      const file = await open(path, mode)
      const datasync = file.datasync.bind(file)
      return { ...file, datasync: () => blocked.then(datasync) }
    }
    const controller = new AbortController()
    const admitted = Array.from({ length: 7 }, () => log.append(entry(10)))
    const waiting = Array.from({ length: 20 }, () => log.append(entry(10), controller.signal))
    const refused = Promise.allSettled(waiting)
    controller.abort(new Error('the caller left'))
    release()
    await Promise.all(admitted.slice(0, 5))
    for (const result of await refused) {
      expect(result).toMatchObject({ status: 'rejected', reason: { message: 'the caller left' } })
    }
    await Promise.all(admitted)
  })

  it('writes zeros ahead, in proportion to the segment, and cuts them off at the end', async () => {
    await using opened = await openLog({ preallocateBytesMax: 1_000_000 })
    const { log, files, segments } = opened
    const size = () => segments.sizeBytes(1)
    const written: PackRecord[] = []
    for (let at = 0; at < 60; at += 1) written.push(await log.append(entry(9000)))
    const last = written.at(-1) as PackRecord
    const end = last.offset + 64 + 9000
    expect(await size()).toBeGreaterThan(end + 100_000)
    expect(await size()).toBeLessThan(end + 1_000_000)
    for (let at = 1; at < written.length; at += 1) {
      expect(written[at]?.offset).toBe((written[at - 1] as PackRecord).offset + 9064)
    }
    await log.stop()
    expect(await size()).toBe(end)
    expect(files.steps.filter(({ step }) => step === 'truncate')).toHaveLength(1)
  })

  it('starts a new segment when one is full, its name and header synced first', async () => {
    await using opened = await openLog({ segmentBytesMax: 3000 })
    const { log, files, segments } = opened
    for (let at = 0; at < 10; at += 1) await log.append(entry(1000))
    expect(await segments.list()).toEqual([1, 2, 3, 4])
    const steps = files.steps.map(({ step }) => step)
    const renamed = steps.indexOf('rename')
    expect(steps.slice(renamed - 3, renamed + 3)).toEqual([
      'create',
      'write',
      'datasync',
      'rename',
      'syncDirectory',
      'write',
    ])
  })

  it('numbers records in the order of the segment', async () => {
    await using opened = await openLog({ segmentBytesMax: 5000 })
    const { log } = opened
    const records = await Promise.all(Array.from({ length: 60 }, () => log.append(entry(300))))
    for (const [at, record] of records.entries()) {
      expect(record.sequence).toBe(at + 1)
      const before = records[at - 1]
      if (before?.segment === record.segment) expect(record.offset).toBe(before.offset + 364)
    }
  })

  it('takes nothing after it was stopped', async () => {
    const opened = await openLog()
    await opened[Symbol.asyncDispose]()
    await expect(opened.log.append(entry(1))).rejects.toMatchObject({
      code: 'BZZZ_STORAGE_UNAVAILABLE',
    })
  })
})
