import { describe, expect, it } from 'vitest'

import { scheduleOf, topicsOf } from '../../../shared/queue/annotations.ts'
import { callbackId, isTopic, jobId, requireTopic, topicOf } from '../../../shared/queue/names.ts'

describe('names', () => {
  it.each(['a', 'agent.hello', 'x-1_2', 'x'.repeat(63)])('takes %s for a topic', (text) => {
    expect(isTopic(text)).toBe(true)
    expect(topicOf(jobId(text))).toBe(text)
  })

  it.each(['', 'A', 'calls', 'callbacks', '-a', 'a-', 'a~b', 'a:b', 'a/b', 'x'.repeat(64)])(
    'takes %j for none',
    (text) => {
      expect(isTopic(text)).toBe(false)
      expect(() => requireTopic(text)).toThrow(/topic is a label/)
    },
  )

  it('finds the queue of a job by its id', () => {
    expect(topicOf(jobId('calls'))).toBe('calls')
    expect(topicOf('repeat:maintenance:1764000000000')).toBe('calls')
    expect(topicOf(callbackId(jobId('greetings')))).toBe('callbacks')
  })

  it('gives the same id for the same name, and another one without', () => {
    expect(jobId('a', 'name')).toBe(jobId('a', 'name'))
    expect(jobId('a', 'name')).not.toBe(jobId('a', 'other'))
    expect(jobId('a')).not.toBe(jobId('a'))
  })

  it('reads what functions are annotated with', () => {
    expect(topicsOf({ topic: ' a, b ,, Not One,cron-function' })).toEqual(['a', 'b'])
    expect(topicsOf({})).toEqual([])
    expect(scheduleOf({ schedule: ' 30 3 * * * ' })).toBe('30 3 * * *')
    expect(scheduleOf({ schedule: ' ' })).toBeNull()
  })
})
