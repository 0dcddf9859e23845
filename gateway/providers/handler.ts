import { existsSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import type { Env } from '../../shared/config/env.ts'
import { InvalidConfigError } from '../../shared/errors.ts'
import { SECRETS_DIRS } from '../../shared/function/constants.ts'
import type { FunctionPlugin } from '../../shared/function/function.ts'
import type { StackFunction } from '../../shared/function/stack-file.ts'
import { NAMESPACE } from '../constants.ts'

/** The one template whose handlers can run in this process. */
const LANG = 'node24-ts'

/** @throws InvalidConfigError naming the function, when there is no handler to run */
export async function importHandler({
  name,
  lang,
  handler,
}: StackFunction): Promise<FunctionPlugin> {
  if (lang !== LANG) {
    throw new InvalidConfigError(`The function ${name} is written for ${lang}, not for ${LANG}.`)
  }
  const file = join(handler, 'handler.ts')
  try {
    await access(file)
  } catch (error) {
    const message = `The handler of the function ${name} is missing: ${file}.`
    throw new InvalidConfigError(message, { cause: error })
  }
  const module = (await import(pathToFileURL(file).href)) as { default?: unknown }
  if (typeof module.default !== 'function') {
    throw new InvalidConfigError(`${file} does not export a Fastify plugin as its default.`)
  }
  return module.default as FunctionPlugin
}

/** Where a function in a container finds its secrets, and what follows in such a path. */
const SECRET_PATH = new RegExp(`^(?:${SECRETS_DIRS.join('|')})/([^/]+)$`)

/**
 * A path of a secret inside a container, as the path of the same secret here. Only secrets that the
 * function is given are looked for; a path that leads nowhere is left as it is.
 */
function secretPath(
  value: string,
  { secrets }: StackFunction,
  secretsDirs: readonly string[],
): string {
  const name = SECRET_PATH.exec(value)?.[1]
  if (name === undefined || !secrets.includes(name)) return value
  return secretsDirs.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? value
}

/**
 * The environment of one function: inherited, overlaid by the stack file's. Giving both a value
 * and a file for it is an error, so an overlaid one removes its inherited other half.
 */
export function functionEnv(
  inherited: Env,
  definition: StackFunction,
  secretsDirs: readonly string[],
): Env {
  const env: Record<string, string | undefined> = {
    ...inherited,
    OPENFAAS_NAME: definition.name,
    OPENFAAS_NAMESPACE: NAMESPACE,
  }
  for (const [name, value] of Object.entries(definition.environment)) {
    env[name] = secretPath(value, definition, secretsDirs)
    if (value === '') continue
    const other = name.endsWith('_FILE') ? name.slice(0, -'_FILE'.length) : `${name}_FILE`
    if (!definition.environment[other]) delete env[other]
  }
  return env
}
