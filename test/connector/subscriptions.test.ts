import { describe, expect, it } from 'vitest'

import { readSubscriptions } from '../../connector/subscriptions.ts'

const FUNCTIONS = [
  { name: 'blue', annotations: { topic: 'greetings,other', 'bzzz.job.concurrency': '3' } },
  { name: 'green', annotations: { topic: 'greetings', 'bzzz.job.concurrency': 'many' } },
  {
    name: 'night',
    annotations: {
      topic: 'cron-function',
      schedule: '30 3 * * *',
      'bzzz.job.authorize': 'connector',
    },
  },
  { name: 'plain', annotations: {} },
]

describe('subscriptions', () => {
  it('are read from the annotations of the functions', () => {
    const { topics, schedules, authorized } = readSubscriptions(FUNCTIONS, {
      wanted: ['*'],
      concurrency: 16,
    })
    expect(Object.fromEntries(topics)).toEqual({
      greetings: { functions: ['blue', 'green'], concurrency: 3 },
      other: { functions: ['blue'], concurrency: 3 },
    })
    expect(schedules).toEqual([{ function: 'night', pattern: '30 3 * * *' }])
    expect([...authorized]).toEqual(['night'])
  })

  it('are those that this connector is to work on', () => {
    const { topics } = readSubscriptions(FUNCTIONS, { wanted: ['other'], concurrency: 2 })
    expect(Object.fromEntries(topics)).toEqual({ other: { functions: ['blue'], concurrency: 2 } })
  })
})
