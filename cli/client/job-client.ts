import type { JobJSON } from '../../shared/queue/job-json.ts'
import type { CommandHost } from '../host.ts'
import { findConnection } from './connection.ts'
import { callJSON } from './http.ts'

export interface JobPage {
  jobs: JobJSON[]
  next: string | null
}

/** What the gateway tells of jobs. */
export interface JobClient {
  list(query: Readonly<Record<string, string | undefined>>): Promise<JobPage>
  get(id: string): Promise<JobJSON>
  retry(id: string): Promise<JobJSON>
  cancel(id: string): Promise<{ id: string; outcome: 'removed' | 'cancelling' }>
}

export async function findJobs(host: CommandHost, options: { data?: string }): Promise<JobClient> {
  const { gatewayURL, token } = await findConnection(host, options.data)
  const { signal } = host
  const base = `${gatewayURL}/system/jobs`
  const at = (id: string) => `${base}/${encodeURIComponent(id)}`
  return {
    list: (query) => {
      const given = Object.entries(query).filter((entry): entry is [string, string] => !!entry[1])
      return callJSON(`${base}?${new URLSearchParams(given)}`, { token, signal })
    },
    get: (id) => callJSON(at(id), { token, signal }),
    retry: (id) => callJSON(`${at(id)}/retry`, { method: 'POST', token, signal }),
    cancel: (id) => callJSON(at(id), { method: 'DELETE', token, signal }),
  }
}
