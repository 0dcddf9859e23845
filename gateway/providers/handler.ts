import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import type { Env } from '../../shared/config/env.ts'
import { InvalidConfigError } from '../../shared/errors.ts'
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

/**
 * The environment of one function: inherited, overlaid by the stack file's. Giving both a value
 * and a file for it is an error, so an overlaid one removes its inherited other half.
 */
export function functionEnv(inherited: Env, definition: StackFunction): Env {
  const env: Record<string, string | undefined> = {
    ...inherited,
    OPENFAAS_NAME: definition.name,
    OPENFAAS_NAMESPACE: NAMESPACE,
  }
  for (const [name, value] of Object.entries(definition.environment)) {
    env[name] = value
    if (value === '') continue
    const other = name.endsWith('_FILE') ? name.slice(0, -'_FILE'.length) : `${name}_FILE`
    if (!definition.environment[other]) delete env[other]
  }
  return env
}
