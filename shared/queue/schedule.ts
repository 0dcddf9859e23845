import { fingerprintOf } from './new-data.ts'
import type { JobCall, JobData } from './job.ts'

/** The headers tell a function that nobody but the schedule asked. */
export const SCHEDULE_HEADER = 'x-schedule'

/** The call that a schedule makes: an empty POST. Its key is the id of each run. */
export function scheduleCall(name: string): JobData {
  const call: JobCall = {
    function: name,
    path: '/',
    headers: { [SCHEDULE_HEADER]: name },
    body: '',
  }
  return {
    ...call,
    idempotencyKey: '',
    fingerprint: fingerprintOf(call),
    callbackUrl: null,
    owner: null,
    answered: [],
    cancelled: false,
    hasChildren: false,
  }
}
