import { TABLE } from '../../functions/mcp/table.ts'
import { modernRequest } from '../helpers/mcp.ts'

type Random = () => number

/** What one hostile request is made of; the token is the caller's. */
export interface HostileRequest {
  headers: Record<string, string>
  payload: string
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!
}

const STRANGE: readonly unknown[] = [
  ...[null, true, -1, 0, 0.5, 1e308, Number.MAX_SAFE_INTEGER + 2, '', '\u0000', '__proto__'],
  ...[[], {}, [[[[[[]]]]]], { constructor: 1 }, ['x'], [0, 0], 'a'.repeat(5_000), '\ud800'],
  ...['bzzz://', 'bzzz://b3/', `bzzz://b3/${'g'.repeat(64)}`, 'bzzz://a@b/../c', 'bzzz://*@*/'],
  ...['../../etc/passwd', 'bzzz://a@b/%00', 'bzzz://a@b/x?v=999999999999999999', '\r\nx: y'],
]

const METHODS: readonly string[] = [
  ...['tools/call', 'tools/list', 'resources/read', 'resources/list', 'prompts/get'],
  ...['prompts/list', 'completion/complete', 'server/discover', 'initialize', 'ping'],
  ...['resources/templates/list', 'resources/subscribe', 'logging/setLevel', 'tasks/get'],
  ...['notifications/cancelled', 'notifications/initialized', 'constructor', '', '💥'],
]

/** Some value of a JSON text becomes another one, goes, or gets company. */
function damage(random: Random, value: unknown): unknown {
  const holders: Record<string, unknown>[] = []
  const collect = (each: unknown): void => {
    if (typeof each !== 'object' || each === null) return
    holders.push(each as Record<string, unknown>)
    Object.values(each).forEach(collect)
  }
  const copy = structuredClone(value)
  collect(copy)
  const holder = pick(random, holders)
  const keys = Object.keys(holder)
  const key = random() < 0.2 || keys.length === 0 ? 'more' : pick(random, keys)
  if (random() < 0.2) delete holder[key]
  else holder[key] = pick(random, STRANGE)
  return copy
}

function randomParams(random: Random, method: string): Record<string, unknown> {
  if (method === 'tools/call') {
    const { name, example } = pick(random, TABLE.tools)
    return { name, arguments: damage(random, example.arguments) }
  }
  if (method === 'resources/read') {
    const { uri } = pick(random, TABLE.resources)
    const text = uri.replaceAll(/\{\+?\w+\}/g, () => String(pick(random, STRANGE)).slice(0, 200))
    return { uri: random() < 0.5 ? text : pick(random, STRANGE) }
  }
  if (method === 'prompts/get') {
    const { name, example } = pick(random, TABLE.prompts)
    return { name, arguments: damage(random, example) }
  }
  if (method === 'completion/complete') {
    const ref = { type: 'ref/prompt', name: pick(random, TABLE.prompts).name }
    const argument = { name: 'thread', value: pick(random, STRANGE) }
    return damage(random, { ref, argument }) as Record<string, unknown>
  }
  return random() < 0.5 ? {} : (damage(random, { cursor: 'x' }) as Record<string, unknown>)
}

/**
 * A request that is wrong somewhere: in its bytes, its shape, its headers or its arguments. Some
 * come out right by chance, which is no harm.
 */
export function hostileRequest(random: Random, token: string): HostileRequest {
  const method = random() < 0.5 ? 'tools/call' : pick(random, METHODS)
  const params = randomParams(random, method)
  const { headers, body } = modernRequest(token, { method, params })
  const sent = { ...headers } as Record<string, string>
  if (random() < 0.3) {
    // The older era: no envelope, no headers of the newer one.
    const { _meta: _, ...bare } = body.params
    delete sent['mcp-method']
    delete sent['mcp-name']
    sent['mcp-protocol-version'] = '2025-11-25'
    return { headers: sent, payload: spoil(random, { ...body, params: bare }) }
  }
  if (random() < 0.1)
    sent[
      pick(
        random,
        Object.keys(sent).filter((name) => name !== 'authorization'),
      )
    ] = 'x'
  for (const [name, value] of Object.entries(sent)) {
    if (!/^[\x20-\x7e]*$/.test(value)) sent[name] = encodeURIComponent(value.toWellFormed())
  }
  return { headers: sent, payload: spoil(random, body) }
}

/** The text of a message, more or less. */
function spoil(random: Random, body: object): string {
  const turn = random()
  if (turn < 0.1) {
    const text = JSON.stringify(body)
    return text.slice(0, Math.floor(random() * text.length))
  }
  if (turn < 0.2) return JSON.stringify(pick(random, STRANGE))
  if (turn < 0.25) return JSON.stringify([body, body])
  if (turn < 0.3) return `${JSON.stringify(body).slice(0, -1)},"__proto__":{"x":1}}`
  if (turn < 0.5) return JSON.stringify(damage(random, body))
  return JSON.stringify(body)
}
