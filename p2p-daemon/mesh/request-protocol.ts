import type { Stream } from '@libp2p/interface'
import { z } from 'zod'

import { ProtocolViolationError, RemoteError } from '../../shared/errors.ts'
import { STATUS_BY_CODE, toWireError } from '../../shared/http/wire-error.ts'
import { ERROR_MESSAGE_CHARS_MAX, MESSAGE_BYTES_MAX, REQUEST_TIMEOUT_MS } from './constants.ts'
import { framed, isFrameError } from './framing.ts'
import type { RequestHandler } from './mesh.ts'

/**
 * One request and one answer on a stream of their own: a frame with the payload, then a frame
 * with a status byte and either the answer or `{code, message, details}` in JSON.
 */
const STATUS_OK = 0
const STATUS_ERROR = 1

/** The status byte and the payload. */
const FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + 1

const errorSchema = z.object({
  code: z.string().max(64),
  message: z.string().max(ERROR_MESSAGE_CHARS_MAX),
  details: z.record(z.string(), z.unknown()),
})

/**
 * The asking side. The stream is closed when this returns and reset when it throws.
 * @throws RemoteError, ProtocolViolationError, or what the stream failed with
 */
export async function ask(
  stream: Stream,
  payload: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const frames = framed(stream, { frameBytesMax: FRAME_BYTES_MAX })
  try {
    await frames.write(payload, { signal })
    const answer = (await frames.read({ signal })).subarray()
    closeInBackground(stream)
    return decodeAnswer(answer)
  } catch (error) {
    const problem = isFrameError(error)
      ? new ProtocolViolationError('The peer answered with something that is no frame.', {
          cause: error,
        })
      : error
    if (!(error instanceof RemoteError)) stream.abort(problem as Error)
    throw problem
  }
}

/**
 * The answering side. The handler's signal is aborted as soon as the stream is gone, which is
 * also how a caller that lost interest stops the work.
 * @throws what made the request unreadable or the answer undeliverable; the stream is reset then
 */
export async function answer(
  stream: Stream,
  peerId: string,
  handler: RequestHandler,
): Promise<void> {
  const gone = new AbortController()
  stream.addEventListener('close', () => gone.abort(), { once: true })
  const frames = framed(stream, { frameBytesMax: MESSAGE_BYTES_MAX })
  try {
    const patience = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
    const payload = (await frames.read({ signal: patience })).subarray()
    const frame = await runHandler(handler, { peerId, payload, signal: gone.signal })
    if (gone.signal.aborted) return
    const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)])
    await frames.write(frame, { signal })
    await stream.close({ signal })
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/** The frame that answers a request: with what the handler returned, or with how it failed. */
export async function runHandler(
  handler: RequestHandler,
  request: Parameters<RequestHandler>[0],
): Promise<Uint8Array> {
  try {
    const payload = await handler(request)
    if (payload.length > MESSAGE_BYTES_MAX) {
      throw new RangeError('The answer is longer than a message may be.')
    }
    return Buffer.concat([Uint8Array.of(STATUS_OK), payload])
  } catch (error) {
    return encodeError(error)
  }
}

/** What a peer may learn about a failure: the same as a caller over HTTP. */
function encodeError(error: unknown): Uint8Array {
  const { error: described, ...details } = toWireError(error, '').body
  const { code, message } = described
  const body = { code, message: message.slice(0, ERROR_MESSAGE_CHARS_MAX), details }
  const json = Buffer.from(JSON.stringify(body))
  const fitting =
    json.length <= MESSAGE_BYTES_MAX ? json : Buffer.from(JSON.stringify({ ...body, details: {} }))
  return Buffer.concat([Uint8Array.of(STATUS_ERROR), fitting])
}

/** @throws RemoteError, ProtocolViolationError */
export function decodeAnswer(frame: Uint8Array): Uint8Array {
  const payload = frame.subarray(1)
  if (frame[0] === STATUS_OK) return payload
  if (frame[0] !== STATUS_ERROR) {
    throw new ProtocolViolationError('The peer answered with an unknown status.')
  }
  let parsed: z.infer<typeof errorSchema>
  try {
    parsed = errorSchema.parse(JSON.parse(Buffer.from(payload).toString()))
  } catch (error) {
    throw new ProtocolViolationError('The peer answered with an error that cannot be read.', {
      cause: error,
    })
  }
  const status = STATUS_BY_CODE[parsed.code] ?? 500
  throw new RemoteError(parsed.code, status, parsed.message, parsed.details)
}

function closeInBackground(stream: Stream): void {
  stream.close().catch((error: Error) => stream.abort(error))
}
