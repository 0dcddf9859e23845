import { z } from 'zod'

import { InvalidRequestError } from '../errors.ts'
import { parseWith } from '../http/parse.ts'
import { requireCallbackURL } from './callback.ts'
import { CHILDREN_MAX } from './constants.ts'
import type { NewJob } from './job.ts'
import { CALLS_TOPIC, requireTopic } from './names.ts'

/** Names of functions as the stack file has them. */
const functionName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'a function')

/** What a function sees as its path and query. */
const path = z
  .string()
  .max(2048)
  .regex(/^\/[\x21-\x7e]*$/, 'a path that begins with /')

const job = {
  function: functionName.optional(),
  topic: z.string().optional(),
  path: path.default('/'),
  contentType: z.string().max(255).optional(),
  /** Text, or any JSON value, or bytes in base64: one of them. */
  body: z.string().optional(),
  json: z.unknown().optional(),
  bodyBase64: z.base64().optional(),
  priority: z.number().int().optional(),
  delayMs: z.number().int().optional(),
  attempts: z.number().int().optional(),
}

const childSchema = z.strictObject(job)
const submissionSchema = z.strictObject({
  ...job,
  key: z.string().min(1).max(255).optional(),
  callbackUrl: z.string().optional(),
  children: z.array(childSchema).min(1).max(CHILDREN_MAX).optional(),
})

type Child = z.output<typeof childSchema>

/** Whose job it is, and what the function is told of that. */
export interface Submitter {
  owner: string
  /** Passed on: the function checks what the submitter may. */
  authorization: string
}

export interface Submission {
  job: NewJob
  children: NewJob[] | null
}

/** @throws InvalidRequestError */
export function readSubmission(
  value: unknown,
  { submitter, callbackHosts }: { submitter: Submitter; callbackHosts: readonly string[] },
): Submission {
  const { children, key, callbackUrl, ...rest } = parseWith(submissionSchema, value)
  if (children && key !== undefined) {
    throw new InvalidRequestError('A flow has no key: submit it once.')
  }
  return {
    job: {
      ...newJob(rest, submitter),
      ...(key !== undefined && { key }),
      ...(callbackUrl !== undefined && {
        callbackUrl: requireCallbackURL(callbackUrl, callbackHosts),
      }),
    },
    children: children?.map((child) => newJob(child, submitter)) ?? null,
  }
}

function newJob(child: Child, { owner, authorization }: Submitter): NewJob {
  const { function: name, topic, priority, delayMs, attempts } = child
  if ((name === undefined) === (topic === undefined)) {
    throw new InvalidRequestError('A job names either a function or a topic.')
  }
  const { body, contentType } = bodyOf(child)
  return {
    topic: topic === undefined ? CALLS_TOPIC : requireTopic(topic),
    owner,
    call: {
      function: name ?? null,
      path: child.path,
      headers: { authorization, ...(contentType && { 'content-type': contentType }) },
      body: body.toString('base64'),
    },
    ...(priority !== undefined && { priority }),
    ...(delayMs !== undefined && { delayMs }),
    ...(attempts !== undefined && { attempts }),
  }
}

function bodyOf({ body, json, bodyBase64, contentType }: Child) {
  if ([body, json, bodyBase64].filter((one) => one !== undefined).length > 1) {
    throw new InvalidRequestError('A job has one of body, json and bodyBase64.')
  }
  if (json !== undefined) {
    const type = contentType ?? 'application/json'
    return { body: Buffer.from(JSON.stringify(json)), contentType: type }
  }
  if (bodyBase64 !== undefined) {
    const type = contentType ?? 'application/octet-stream'
    return { body: Buffer.from(bodyBase64, 'base64'), contentType: type }
  }
  return { body: Buffer.from(body ?? ''), contentType: contentType ?? (body && 'text/plain') }
}
