import { setTimeout as sleep } from 'node:timers/promises'

import { z } from 'zod'

import { JOB_POLL_MS } from '../constants.ts'
import { callOptions, type Call } from '../services.ts'
import { dryRunField } from './fields.ts'
import { defineTool } from './tool.ts'

const CALLS_PER_MINUTE_MAX = 30

const PHASES = ['roots', 'walk', 'sweep', 'end'] as const

const collection = z.object({
  state: z.enum(['idle', 'running', 'ended']),
  phase: z.enum(PHASES).optional(),
  outcome: z.string().nullable().optional(),
  reason: z.string().nullable().optional().describe('What spoke against deleting'),
  candidates: z.int().optional().describe('Blobs that may go'),
  bytes: z.int().optional().describe('What they take'),
  deleted: z.int().optional(),
})

type CollectionJSON = z.input<typeof collection>

const EXAMPLE: CollectionJSON = {
  ...{ state: 'ended', phase: 'end', outcome: 'done', reason: null },
  ...{ candidates: 3, bytes: 4096, deleted: 0 },
}

export const gcRun = defineTool({
  name: 'gc_run',
  title: 'Collect garbage',
  description:
    'Deletes what nothing refers to on the node that answers, once its grace period is over; ' +
    'answers when it has begun, and gc_status tells how far it is. With dry_run (the default) it ' +
    'only counts what would go: that answers at the end, and reports its phases meanwhile.',
  toolsets: ['admin'],
  scope: 'node:manage',
  kind: 'destroy',
  callsPerMinuteMax: CALLS_PER_MINUTE_MAX,
  input: z.strictObject({ dry_run: dryRunField }),
  output: collection,
  example: { arguments: { dry_run: true }, answer: EXAMPLE },
  async run({ dry_run: dryRun }, call) {
    const json = { dryRun, wait: dryRun }
    const begun = onCollection(call, { method: 'POST', json })
    return { result: await (dryRun ? watched(begun, call) : begun) }
  },
})

export const gcStatus = defineTool({
  name: 'gc_status',
  title: 'Look at the collection of garbage',
  description:
    'How far the collection is that runs on the node that answers, or what the last did.',
  toolsets: ['admin'],
  scope: 'node:manage',
  kind: 'read',
  input: z.strictObject({}),
  output: collection,
  example: { arguments: {}, answer: { ...EXAMPLE, deleted: 3 } },
  run: async (_args, call) => ({ result: await onCollection(call, { method: 'GET' }) }),
})

function onCollection(
  call: Call,
  request: { method: 'GET' | 'POST'; json?: object },
): Promise<CollectionJSON> {
  return call.services.daemon.call({ ...callOptions(call), ...request, path: '/v1/gc' })
}

/** Tells of the phases of a collection until it has ended. */
async function watched(begun: Promise<CollectionJSON>, call: Call): Promise<CollectionJSON> {
  const ended = new AbortController()
  const signal = AbortSignal.any([call.signal, ended.signal])
  const look = async () => {
    for (;;) {
      await sleep(JOB_POLL_MS, undefined, { signal })
      const { phase = 'roots' } = await onCollection({ ...call, signal }, { method: 'GET' })
      call.progress(PHASES.indexOf(phase), PHASES.length - 1, phase)
    }
  }
  // What it finds is told and no more: how the collection ends decides.
  const looking = look().catch(() => undefined)
  try {
    return await begun
  } finally {
    ended.abort()
    await looking
  }
}
