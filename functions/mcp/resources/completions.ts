import { PAGE_SIZE_MAX } from '../../../shared/limits.ts'
import type { RecordJSON } from '../../../shared/record/record.ts'
import { callOptions } from '../services.ts'
import type { AgentJSON } from '../tools/agents.ts'
import type { Completer } from './resource.ts'

/** More than are shown, as what does not begin with what was typed is left out. */
const LIMIT = String(PAGE_SIZE_MAX)

/** Behind everything that comes before what begins with this, so that a page begins with it. */
function before(typed: string): string {
  const last = typed.charCodeAt(typed.length - 1)
  return last > 0 ? `${typed.slice(0, -1)}${String.fromCharCode(last - 1)}\uffff` : ''
}

/** Agents that are alive, by the beginning of NAME@PROJECT. */
export const completeAgent: Completer = async (typed, call) => {
  if (!call.caller.claims.scopes.includes('agent:read')) return []
  const query = new URLSearchParams({ limit: LIMIT, after: before(typed) })
  const { agents } = await call.services.daemon.call<{ agents: AgentJSON[] }>({
    ...callOptions(call),
    method: 'GET',
    path: `/v1/agents?${query}`,
  })
  return agents.map(({ agent }) => agent).filter((agent) => agent.startsWith(typed))
}

const SCHEME = 'bzzz://'

/** Names that the token covers, by their beginning. */
export const completeName: Completer = async (typed, call) => {
  if (!call.caller.claims.scopes.includes('address:read')) return []
  const begun = typed.startsWith(SCHEME) ? typed : SCHEME + typed
  const query = new URLSearchParams({
    pattern: `${SCHEME}*:*@*:*/`,
    limit: LIMIT,
    after: before(begun),
  })
  const { records } = await call.services.daemon.call<{ records: RecordJSON[] }>({
    ...callOptions(call),
    method: 'GET',
    path: `/v1/search?${query}`,
  })
  return records.map(({ address }) => address).filter((address) => address.startsWith(begun))
}

/** The part of names before the path. */
export const completeAuthority: Completer = async (typed, call) => {
  const names = await completeName(typed, call)
  return [...new Set(names.map((name) => name.slice(SCHEME.length).split('/')[0]!))]
}

/** Threads that the token covers, without `bzzz://`, the one written to last first. */
export const completeThread: Completer = async (typed, call) => {
  const { claims } = call.caller
  if (!claims.scopes.includes('thread:read') || !call.services.threads) return []
  const { threads } = await call.services.threads.list({
    projects: claims.projects,
    limit: PAGE_SIZE_MAX,
  })
  const begun = typed.startsWith(SCHEME) ? typed.slice(SCHEME.length) : typed
  const names = threads.map(({ address }) => address.slice(SCHEME.length))
  return names.filter((name) => name.startsWith(begun))
}
