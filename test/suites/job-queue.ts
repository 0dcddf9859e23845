import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import type { Job, JobResult, NewJob } from '../../shared/queue/job.ts'
import type { ActiveJob, JobHandler, JobQueue, JobWorker } from '../../shared/queue/job-queue.ts'
import { JobFinalError, JobPostponedError, JobRetryError } from '../../shared/queue/failures.ts'
import { JOB_BODY_BYTES_MAX } from '../../shared/queue/constants.ts'
import { CALLS_TOPIC } from '../../shared/queue/names.ts'

/** A lock short enough that a job of a worker that died is found again within a test. */
const LOCK_MS = 1_000

export function callOf(text: string, name: string | null = 'echo'): NewJob['call'] {
  return { function: name, path: '/', headers: {}, body: Buffer.from(text).toString('base64') }
}

const textOf = (job: { data: { body: string } }) => Buffer.from(job.data.body, 'base64').toString()

const answered = (status = 200): JobResult => ({
  answers: [
    {
      function: 'echo',
      status,
      contentType: 'text/plain',
      sizeBytes: 2,
      body: 'b2s=',
      blob: null,
      seconds: 0.1,
    },
  ],
})

/** What every queue of jobs promises, whatever server it lies on. */
export function jobQueueSuite(
  open: () => Promise<{ create(): JobQueue; stop(): Promise<void> }>,
): void {
  describe('job queue', () => {
    let server: Awaited<ReturnType<typeof open>>
    let queue: JobQueue
    let workers: JobWorker[]
    /** Another one for each test, so that none sees the jobs of another. */
    let topic: string
    let count = 0

    beforeAll(async () => {
      server = await open()
    })
    afterAll(() => server.stop())
    beforeEach(() => {
      queue = server.create()
      workers = []
      topic = `t${process.pid}-${++count}`
    })
    afterEach(async () => {
      await Promise.all(workers.map((worker) => worker.stop(0)))
      await queue.close()
    })

    const work = async (handler: JobHandler, concurrency = 4, on = topic) => {
      const worker = await queue.work(on, handler, { concurrency, lockMs: LOCK_MS })
      workers.push(worker)
      return worker
    }
    const ended = async (id: string): Promise<Job> => {
      await expect
        .poll(async () => (await queue.get(id)).state, { timeout: 30_000, interval: 20 })
        .toMatch(/completed|failed/)
      return queue.get(id)
    }

    it('keeps a job, runs it once and remembers its result', async () => {
      const { id } = await queue.submit({ topic, call: callOf('one'), owner: 'ada' })
      expect(await queue.get(id)).toMatchObject({ id, topic, state: 'waiting', attempts: 0 })
      const seen: string[] = []
      await work(async (job) => {
        seen.push(textOf(job))
        await job.reportProgress({ percent: 40, message: 'half way' })
        return answered()
      })
      const job = await ended(id)
      expect(job).toMatchObject({
        state: 'completed',
        attempts: 1,
        progress: { percent: 40, message: 'half way' },
        result: answered(),
        reason: null,
      })
      expect(job.finishedAt).toBeInstanceOf(Date)
      expect(seen).toEqual(['one'])
    })

    it('knows a key again, and refuses it for another call', async () => {
      const job = { topic, call: callOf('one'), key: 'k1', owner: 'ada' }
      const { id } = await queue.submit(job)
      expect(await queue.submit(job)).toEqual({ id })
      await expect(queue.submit({ ...job, call: callOf('two') })).rejects.toMatchObject({
        code: 'BZZZ_IDEMPOTENCY_MISMATCH',
      })
      expect((await queue.submit({ ...job, owner: 'bob' })).id).not.toBe(id)
      expect((await queue.submit({ ...job, key: 'k2' })).id).not.toBe(id)
      expect((await queue.counts(topic)).waiting).toBe(3)
    })

    it('tries again what failed, and says why when it gives up', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x'), attempts: 2 })
      const attempts: [number, boolean][] = []
      await work(async (job) => {
        attempts.push([job.attempt, job.isLastAttempt])
        throw new JobRetryError('The function answered 503.', 1)
      })
      const job = await ended(id)
      expect(job).toMatchObject({
        state: 'failed',
        attempts: 2,
        attemptsMax: 2,
        reason: 'The function answered 503.',
        result: null,
      })
      expect(attempts).toEqual([
        [1, false],
        [2, true],
      ])
    })

    it('gives up at once where another attempt would not help', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x') })
      let calls = 0
      await work(async () => {
        calls++
        throw new JobFinalError('The function answered 404.')
      })
      expect(await ended(id)).toMatchObject({ state: 'failed', attempts: 1 })
      expect(calls).toBe(1)
    })

    it('counts no attempt for a job that was put off', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x'), attempts: 1 })
      let calls = 0
      await work(async () => {
        if (++calls < 3) throw new JobPostponedError('The gateway is away.', 1)
        return answered()
      })
      expect(await ended(id)).toMatchObject({ state: 'completed', attempts: 1 })
      expect(calls).toBe(3)
    })

    it('runs a failed job again when asked to, and only such a one', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x'), attempts: 1 })
      let broken = true
      await work(async () => {
        if (broken) throw new JobRetryError('broken')
        return answered()
      })
      expect(await ended(id)).toMatchObject({ state: 'failed' })
      broken = false
      expect((await queue.retry(id)).id).toBe(id)
      await expect
        .poll(async () => (await queue.get(id)).state, { timeout: 30_000 })
        .toBe('completed')
      await expect(queue.retry(id)).rejects.toMatchObject({ code: 'BZZZ_JOB_STATE' })
      await expect(queue.retry(`${topic}~nobody`)).rejects.toMatchObject({
        code: 'BZZZ_JOB_NOT_FOUND',
      })
    })

    it('removes a job that waits, and tells one that runs', async () => {
      const waiting = await queue.submit({ topic, call: callOf('x') })
      expect(await queue.cancel(waiting.id)).toBe('removed')
      await expect(queue.get(waiting.id)).rejects.toMatchObject({ code: 'BZZZ_JOB_NOT_FOUND' })

      const { id } = await queue.submit({ topic, call: callOf('y') })
      let running: ActiveJob | null = null
      await work(async (job) => {
        running = job
        while (!(await job.isCancelled())) await new Promise((resolve) => setTimeout(resolve, 10))
        throw new JobFinalError('The job was cancelled.')
      })
      await expect.poll(() => running, { timeout: 30_000 }).not.toBeNull()
      expect(await queue.cancel(id)).toBe('cancelling')
      expect(await ended(id)).toMatchObject({ state: 'failed', reason: 'The job was cancelled.' })
    })

    it('runs what goes first before what can wait, and a delayed job not before its time', async () => {
      await queue.submit({ topic, call: callOf('later'), priority: 9 })
      await queue.submit({ topic, call: callOf('sooner'), priority: 2 })
      await queue.submit({ topic, call: callOf('first') })
      const delayed = await queue.submit({ topic, call: callOf('delayed'), delayMs: 3_600_000 })
      expect(await queue.get(delayed.id)).toMatchObject({ state: 'delayed' })
      const order: string[] = []
      await work(async (job) => {
        order.push(textOf(job))
        return answered()
      }, 1)
      await expect.poll(() => order.length, { timeout: 30_000 }).toBe(3)
      expect(order).toEqual(['first', 'sooner', 'later'])
      expect(await queue.get(delayed.id)).toMatchObject({ state: 'delayed' })
    })

    it('pages through the jobs of several topics, the newest first', async () => {
      const other = `${topic}-b`
      for (let n = 0; n < 5; n++) await queue.submit({ topic, call: callOf(`${n}`) })
      for (let n = 5; n < 8; n++) await queue.submit({ topic: other, call: callOf(`${n}`) })
      await queue.submit({ topic, call: callOf('8'), delayMs: 60_000 })
      const seen: string[] = []
      let cursor: string | undefined
      do {
        const options = { topics: [topic, other], limit: 2, ...(cursor && { cursor }) }
        const page = await queue.list(options)
        expect(page.jobs.length).toBeLessThanOrEqual(2)
        seen.push(...page.jobs.map(textOf))
        cursor = page.next ?? undefined
      } while (cursor !== undefined)
      expect(seen).toEqual(['4', '3', '2', '1', '0', '7', '6', '5', '8'])
      const { jobs } = await queue.list({ topics: [topic], state: 'delayed', limit: 10 })
      expect(jobs.map(textOf)).toEqual(['8'])
      const bad = queue.list({ topics: [topic], limit: 10, cursor: 'x' })
      await expect(bad).rejects.toMatchObject({ code: 'BZZZ_REQUEST_INVALID' })
    })

    it('runs the parent of a flow after its children, with what they answered', async () => {
      const flow = await queue.submitFlow({ topic, call: callOf('parent') }, [
        { topic, call: callOf('child-1') },
        { topic, call: callOf('child-2') },
      ])
      const order: string[] = []
      let given: Readonly<Record<string, JobResult>> = {}
      await work(async (job) => {
        order.push(textOf(job))
        if (job.data.hasChildren) given = await job.children()
        return answered()
      })
      expect(await ended(flow.id)).toMatchObject({ state: 'completed' })
      expect(order.at(-1)).toBe('parent')
      expect(order.toSorted()).toEqual(['child-1', 'child-2', 'parent'])
      expect(given).toEqual(Object.fromEntries(flow.children.map((id) => [id, answered()])))
    })

    it('fails the parent when a child fails for good', async () => {
      const flow = await queue.submitFlow({ topic, call: callOf('parent') }, [
        { topic, call: callOf('good') },
        { topic, call: callOf('bad') },
      ])
      const seen: string[] = []
      await work(async (job) => {
        seen.push(textOf(job))
        if (textOf(job) === 'bad') throw new JobFinalError('no luck')
        return answered()
      })
      const parent = await ended(flow.id)
      expect(parent.state).toBe('failed')
      expect(parent.reason).toContain('child')
      expect(seen).not.toContain('parent')
    })

    it('finds the jobs of a worker that died', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x') })
      const keys: string[] = []
      const dying = server.create()
      const first = await dying.work(
        topic,
        async (job) => {
          keys.push(job.data.idempotencyKey)
          return new Promise<JobResult>(() => undefined)
        },
        { concurrency: 1, lockMs: LOCK_MS },
      )
      await expect.poll(() => keys.length, { timeout: 30_000 }).toBe(1)
      // Its connections go without a word to the job, as with a process that is killed.
      await first.stop(-1)
      await dying.close()
      await work(async (job) => {
        keys.push(job.data.idempotencyKey)
        return answered()
      })
      expect(await ended(id)).toMatchObject({ state: 'completed' })
      expect(new Set(keys)).toEqual(new Set([id]))
    })

    it('gives back what is in hand when it stops, without an attempt', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x'), attempts: 1 })
      const started: string[] = []
      const slow = await queue.work(
        topic,
        async (job) => {
          started.push(job.id)
          await new Promise((resolve) => job.signal.addEventListener('abort', resolve))
          throw new Error('cut')
        },
        { concurrency: 1, lockMs: LOCK_MS },
      )
      await expect.poll(() => started.length, { timeout: 30_000 }).toBe(1)
      await slow.stop(1)
      expect(await queue.get(id)).toMatchObject({ state: 'waiting', attempts: 0 })
    })

    it('waits at its stop for what ends in time', async () => {
      const { id } = await queue.submit({ topic, call: callOf('x') })
      let release = () => undefined as void
      let started = false
      const worker = await queue.work(
        topic,
        async () => {
          started = true
          await new Promise<void>((resolve) => (release = resolve))
          return answered()
        },
        { concurrency: 1, lockMs: LOCK_MS },
      )
      await expect.poll(() => started, { timeout: 30_000 }).toBe(true)
      const stopped = worker.stop(60_000)
      release()
      await stopped
      expect(await queue.get(id)).toMatchObject({ state: 'completed' })
    })

    it('keeps exactly the schedules it is told, and runs them', async () => {
      await queue.syncSchedules([
        { function: `every-${topic}`, pattern: '* * * * * *' },
        { function: `wrong-${topic}`, pattern: 'now and then' },
        { function: `other-${topic}`, pattern: '0 0 1 1 *' },
      ])
      const runs = new Map<string, number>()
      await work(
        async ({ data }) => {
          runs.set(data.function!, (runs.get(data.function!) ?? 0) + 1)
          return answered()
        },
        4,
        CALLS_TOPIC,
      )
      await expect
        .poll(() => runs.get(`every-${topic}`) ?? 0, { timeout: 30_000 })
        .toBeGreaterThan(1)
      expect(runs.get(`other-${topic}`)).toBeUndefined()
      await queue.syncSchedules([])
      const { jobs } = await queue.list({ topics: [CALLS_TOPIC], state: 'delayed', limit: 10 })
      expect(jobs).toEqual([])
    })

    it('keeps so many finished jobs, the newest', async () => {
      await work(async (job) => {
        if (textOf(job).startsWith('bad')) throw new JobFinalError('bad')
        return answered()
      }, 1)
      const ids: string[] = []
      for (const text of ['a', 'b', 'bad-1', 'c', 'bad-2', 'd']) {
        const { id } = await queue.submit({ topic, call: callOf(text) })
        await ended(id)
        ids.push(id)
      }
      expect(await queue.trim(topic)).toBe(0)
      expect(await queue.trim(topic, { completed: 2, failed: 1 })).toBe(3)
      const { jobs } = await queue.list({ topics: [topic], limit: 10 })
      expect(jobs.map(textOf)).toEqual(['bad-2', 'd', 'c'])
      await expect(queue.get(ids[0]!)).rejects.toMatchObject({ code: 'BZZZ_JOB_NOT_FOUND' })
    })

    it('refuses what is over its limits', async () => {
      const submit = (job: Partial<NewJob>) => queue.submit({ topic, call: callOf('x'), ...job })
      const invalid = { code: 'BZZZ_REQUEST_INVALID' }
      await expect(submit({ priority: 101 })).rejects.toMatchObject(invalid)
      await expect(submit({ delayMs: -1 })).rejects.toMatchObject(invalid)
      await expect(submit({ attempts: 0 })).rejects.toMatchObject(invalid)
      const large = callOf('x'.repeat(JOB_BODY_BYTES_MAX + 1))
      await expect(submit({ call: large })).rejects.toMatchObject({ code: 'BZZZ_BODY_TOO_LARGE' })
    })
  })
}
