import { describe, expect, it } from 'vitest'

import { Batcher } from '../../../../functions/llm-proxy/limits/batcher.ts'

interface Asked {
  items: readonly number[]
  answer: (results: readonly string[]) => void
  fail: (error: Error) => void
}

/** Questions that are answered by hand. */
function start(init: { batchMax?: number; pendingMax?: number } = {}) {
  const asked: Asked[] = []
  let onAsked: () => void = () => undefined
  const batcher = new Batcher<number, string>({
    ...{ batchMax: 10, pendingMax: 10, restMsMax: 5, ...init },
    run: (items) =>
      new Promise((answer, fail) => {
        asked.push({ items, answer, fail })
        onAsked()
      }),
  })
  const question = async (at: number): Promise<Asked> => {
    while (!asked[at]) await new Promise<void>((resolve) => (onAsked = resolve))
    return asked[at]
  }
  const answer = async (at: number): Promise<readonly number[]> => {
    const { items, answer: give } = await question(at)
    give(items.map(String))
    return items
  }
  return { batcher, question, answer }
}

describe('batcher', () => {
  it('asks for one alone at once, and then for all that came meanwhile', async () => {
    const { batcher, question, answer } = start()
    const first = batcher.ask(1)
    expect((await question(0)).items).toEqual([1])
    const next = [2, 3, 4].map((item) => batcher.ask(item))
    await answer(0)
    expect(await first).toBe('1')
    expect(await answer(1)).toEqual([2, 3, 4])
    const fifth = batcher.ask(5)
    expect(await Promise.all(next)).toEqual(['2', '3', '4'])
    // It rests after a question for several: what comes now is in time.
    const sixth = batcher.ask(6)
    expect(await answer(2)).toEqual([5, 6])
    expect(await Promise.all([fifth, sixth])).toEqual(['5', '6'])
  })

  it('goes on after a failure, which is that of all it was asked for', async () => {
    const { batcher, question, answer } = start()
    const asking = [batcher.ask(1), batcher.ask(2), batcher.ask(3)]
    await answer(0)
    ;(await question(1)).fail(new Error('away'))
    const ended = await Promise.allSettled(asking)
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    const again = batcher.ask(4)
    expect(await answer(2)).toEqual([4])
    expect(await again).toBe('4')
  })

  it('takes no more in one question, nor lets more wait, than its bounds', async () => {
    const { batcher, question, answer } = start({ batchMax: 2, pendingMax: 3 })
    const asking = [1, 2, 3, 4].map((item) => batcher.ask(item))
    await question(0)
    await expect(batcher.ask(5)).rejects.toMatchObject({ code: 'BZZZ_OVERLOADED' })
    expect([await answer(0), await answer(1), await answer(2)]).toEqual([[1], [2, 3], [4]])
    expect(await Promise.all(asking)).toEqual(['1', '2', '3', '4'])
  })
})
