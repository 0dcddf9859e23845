import type { TokenClaims } from '../auth/token.ts'
import { JobNotFoundError } from '../errors.ts'
import type { Job } from './job.ts'
import type { JobQueue } from './job-queue.ts'

/** Whether a caller may see a job and end it: it is its owner's, and administrators'. */
export function mayTouch(job: Job, claims: Pick<TokenClaims, 'subject' | 'scopes'>): boolean {
  const own = job.data.owner !== null && job.data.owner === claims.subject
  return own || claims.scopes.includes('admin:*')
}

/**
 * A job of the caller's. Whether the id exists is no business of others either.
 * @throws JobNotFoundError
 */
export async function getOwnJob(
  queue: Pick<JobQueue, 'get'>,
  id: string,
  claims: Pick<TokenClaims, 'subject' | 'scopes'>,
): Promise<Job> {
  const job = await queue.get(id)
  if (mayTouch(job, claims)) return job
  throw new JobNotFoundError(`There is no job ${id.slice(0, 128)}.`)
}
