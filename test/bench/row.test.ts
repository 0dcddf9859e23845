import { describe, expect, it } from 'vitest'
import { median, medianRow, row } from '../../bench/row.ts'

const put = (ours: number, peer: number) =>
  row({ work: 'put', beside: 'lmdb', ours, peer, unit: 'puts/s', bar: { atLeast: 2 } })

describe('bench row', () => {
  it('holds a rate that is high enough and misses one that is not', () => {
    expect(put(200, 100)).toMatchObject({ ratio: 2, bar: '>= 2x', holds: true })
    expect(put(199, 100).holds).toBe(false)
  })

  it('holds a time that is low enough and misses one that is not', () => {
    const time = (ours: number) =>
      row({ work: 'get', beside: 'bare', ours, peer: 10, unit: 'ms', bar: { atMost: 1.5 } })
    expect(time(15)).toMatchObject({ bar: '<= 1.5x', holds: true })
    expect(time(15.1).holds).toBe(false)
  })

  it('holds where nothing was promised', () => {
    const free = row({ work: 'get', beside: 'bare', ours: 0, peer: 10, unit: 'ms' })
    expect(free).toMatchObject({ bar: '', holds: true })
  })

  it('takes the middle of an odd and the mean of the two middles of an even count', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([4, 1, 9, 2])).toBe(3)
    expect(() => median([])).toThrow('no median')
  })

  it('holds the median of the runs against the bar, not the first run', () => {
    expect(medianRow([put(300, 100), put(60, 100)])).toMatchObject({ ratio: 1.8, holds: false })
  })

  it('refuses runs whose rows differ in number or order', () => {
    expect(() => medianRow([put(1, 1), undefined])).toThrow('Not every run')
    expect(() => medianRow([put(1, 1), { ...put(1, 1), beside: 'cacache' }])).toThrow('Not every')
  })
})
