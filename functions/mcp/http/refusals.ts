import type { FastifyReply, FastifyRequest } from 'fastify'

import { ScopeMissingError } from '../../../shared/errors.ts'
import { sendError } from '../../../shared/http/service.ts'
import { toWireError } from '../../../shared/http/wire-error.ts'
import { challenge } from './resource-metadata.ts'

/** Of JSON-RPC: what was sent is no JSON; is no message. */
const PARSE_ERROR = -32_700
const INVALID_REQUEST = -32_600
/** Of the range that servers may use as they like: what HTTP refused before. */
const REFUSED = -32_000

const NUMBERS: Readonly<Record<string, number>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: PARSE_ERROR,
  FST_ERR_CTP_EMPTY_JSON_BODY: PARSE_ERROR,
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: PARSE_ERROR,
  FST_ERR_CTP_BODY_TOO_LARGE: REFUSED,
  FST_ERR_CTP_INVALID_MEDIA_TYPE: REFUSED,
}

/** A body of JSON-RPC for what never became a message. */
export function refuseMessage(
  reply: FastifyReply,
  refusal: { status: number; number: number; message: string },
): FastifyReply {
  const { status, number, message } = refusal
  reply.code(status).type('application/json')
  return reply.send({ jsonrpc: '2.0', id: null, error: { code: number, message } })
}

export function refuseBatch(reply: FastifyReply): FastifyReply {
  const message = 'Batches are not part of the protocol any more: send one message.'
  return refuseMessage(reply, { status: 400, number: INVALID_REQUEST, message })
}

/**
 * The wire family with the challenge that clients of OAuth look for, and errors of JSON-RPC for
 * bodies that are none.
 */
export function sendRefusal(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  publicURL: string,
): FastifyReply | Promise<FastifyReply> {
  const given = error instanceof Error && 'code' in error ? String(error.code) : ''
  const number = NUMBERS[given]
  const { status, body } = toWireError(error, request.id)
  if (number !== undefined) {
    // Some of them come as 400 and are a matter of the content type alone.
    const isMedia = given === 'FST_ERR_CTP_INVALID_MEDIA_TYPE'
    const { message } = body.error
    return refuseMessage(reply, { status: isMedia ? 415 : status, number, message })
  }
  if (status !== 401) return sendError(error, request, reply)
  reply.code(status).header('www-authenticate', challenge({ error: 'invalid_token' }, publicURL))
  return reply.type('application/json').send(body)
}

/** Names the scope that is missing, so that a client may ask for a token that has it. */
export function refuseScope(
  reply: FastifyReply,
  { scope, requestId, publicURL }: { scope: string; requestId: string; publicURL: string },
): FastifyReply {
  const error = new ScopeMissingError(`The token lacks the scope ${scope}.`)
  const { status, body } = toWireError(error, requestId)
  const header = challenge({ error: 'insufficient_scope', scope }, publicURL)
  return reply.code(status).header('www-authenticate', header).type('application/json').send(body)
}
