import { z } from 'zod'

import { checkLabel, type LabelName } from '../../shared/address/labels.ts'
import { InvalidAddressError } from '../../shared/errors.ts'
import { CAPABILITIES_MAX, CAPABILITY_CHARS_MAX, ENDPOINT_CHARS_MAX } from './constants.ts'

export interface Capabilities {
  skills: readonly string[]
  models: readonly string[]
  tools: readonly string[]
}

/** What an agent says of itself. Name and project are the labels of the addresses it writes. */
export interface Agent {
  name: string
  project: string
  role: string | null
  capabilities: Capabilities
  /** Where it can be called; null for one that only asks. */
  endpoint: string | null
  /** 0 idle, 1 full. */
  load: number
}

/** `reviewer@apollo`: what an agent is called in the cluster. */
export function agentId({ name, project }: Pick<Agent, 'name' | 'project'>): string {
  return `${name}@${project}`
}

/** @throws InvalidAddressError unless the text is `<name>@<project>` */
export function parseAgentId(text: string): { name: string; project: string } {
  const [name = '', project, ...rest] = text.split('@')
  if (project === undefined || rest.length > 0) {
    throw new InvalidAddressError('An agent is named by <name>@<project>.')
  }
  return { name: checkLabel('agent', name), project: checkLabel('project', project) }
}

const label = (name: LabelName) =>
  z.string().refine((text) => isCanonical(name, text), `not a ${name} in lower case`)

/** Whatever is shown in a table on one line. */
const word = z
  .string()
  .min(1)
  .max(CAPABILITY_CHARS_MAX)
  .regex(/^\P{C}+$/u, 'control characters')

const words = z
  .array(word)
  .max(CAPABILITIES_MAX)
  .refine((all) => new Set(all).size === all.length, 'named twice')
  .readonly()

/** It is told to every node and to everybody who may list agents, so it carries no password. */
const endpoint = z
  .string()
  .max(ENDPOINT_CHARS_MAX)
  .refine(isEndpoint, 'not a URL such as http://10.0.0.7:8100, without user and password')

const description = {
  role: label('role').nullable(),
  capabilities: z.object({ skills: words, models: words, tools: words }),
  endpoint: endpoint.nullable(),
  load: z.number().min(0).max(1),
}

/** As one node tells it to another. */
export const agentSchema = z.object({
  name: label('agent'),
  project: label('project'),
  ...description,
})

/** As an agent sends it; what it leaves out is empty. */
export const agentBody = {
  role: description.role.default(null),
  capabilities: z
    .strictObject({
      skills: words.default([]),
      models: words.default([]),
      tools: words.default([]),
    })
    .default({ skills: [], models: [], tools: [] }),
  endpoint: description.endpoint.default(null),
  load: description.load.default(0),
}

/** Whether they say the same but for the load, which changes with every heartbeat. */
export function isSameAgent(one: Agent, other: Agent): boolean {
  const saying = ({ name, project, role, capabilities, endpoint: url }: Agent): string =>
    JSON.stringify([name, project, role, capabilities, url])
  return saying(one) === saying(other)
}

/** Of the description alone, as JSON. */
export function agentBytes({ name, project, role, capabilities, endpoint: url, load }: Agent) {
  const described: Agent = { name, project, role, capabilities, endpoint: url, load }
  return Buffer.byteLength(JSON.stringify(described))
}

function isCanonical(name: LabelName, text: string): boolean {
  try {
    return checkLabel(name, text) === text
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}

function isEndpoint(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.host === '' || !/^\P{C}+$/u.test(text)) return false
  return url.username === '' && url.password === ''
}
