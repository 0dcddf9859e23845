import { InvalidConfigError } from '../../shared/errors.ts'

/** Stands for the name of a function in the pattern. */
const PLACE = '{name}'

/**
 * Where each function is served: at the origin given for it as `name=origin`, else at the pattern.
 * @throws InvalidConfigError naming every function and entry at fault
 */
export function originsOf(
  names: readonly string[],
  init: { pattern: string | undefined; given: readonly string[] },
): Map<string, string> {
  const given = new Map(init.given.map((entry) => splitEntry(entry)))
  const problems = [...given.keys()]
    .filter((name) => !names.includes(name))
    .map((name) => `BZZZ_FUNCTION_URLS: the stack file has no function ${name}`)
  const origins = new Map<string, string>()
  for (const name of names) {
    const text = given.get(name) ?? init.pattern?.replaceAll(PLACE, name) ?? ''
    const origin = originOf(text)
    if (origin) origins.set(name, origin)
    else problems.push(`${name}: "${text}" is no origin such as http://${name}:8080`)
  }
  if (problems.length === 0) return origins
  throw new InvalidConfigError(`The functions cannot be found:\n  ${problems.join('\n  ')}`)
}

function splitEntry(entry: string): readonly [name: string, origin: string] {
  const at = entry.indexOf('=')
  return at === -1 ? [entry, ''] : [entry.slice(0, at).trim(), entry.slice(at + 1).trim()]
}

/** Scheme, host and port, and nothing else: a path would be lost, or could be left with `..`. */
function originOf(text: string): string | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  const isHTTP = url.protocol === 'http:' || url.protocol === 'https:'
  return isHTTP && url.href === `${url.origin}/` ? url.origin : null
}
