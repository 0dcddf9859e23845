import { TRACEPARENT_META_KEY, type ServerContext } from '@modelcontextprotocol/server'

import type { View } from '../access/surface.ts'
import type { Call, Caller } from '../services.ts'

/** One HTTP request: who asks, and what of the table that caller sees. */
export interface Exchange {
  caller: Caller
  view: View
}

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/** Percentages of one request are told at most this often; clients draw them for people. */
const PROGRESS_INTERVAL_MS = 100

export function toCall(
  exchange: Exchange,
  given: Pick<Call, 'services' | 'callsPerMinuteMax'>,
  context: ServerContext,
): Call {
  const { signal, _meta: meta } = context.mcpReq
  const traceparent = meta?.[TRACEPARENT_META_KEY]
  return {
    caller: exchange.caller,
    ...given,
    signal,
    traceparent:
      typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined,
    visibleTools: exchange.view.toolNames,
    progress: progressOf(context),
  }
}

/** Nothing is sent to a client that gave no token for it. */
function progressOf({ mcpReq }: ServerContext): Call['progress'] {
  const progressToken = mcpReq._meta?.progressToken
  if (progressToken === undefined) return () => undefined
  let told = Number.NEGATIVE_INFINITY
  let toldAtMs = Number.NEGATIVE_INFINITY
  return (done, total, message) => {
    // It never goes back nor stands still, as the protocol wants it.
    if (done <= told) return
    const now = performance.now()
    if (now - toldAtMs < PROGRESS_INTERVAL_MS && done < total) return
    told = done
    toldAtMs = now
    const params = { progressToken, progress: done, total, message }
    // A client that has left is no failure of the call.
    mcpReq.notify({ method: 'notifications/progress', params }).catch(() => undefined)
  }
}
