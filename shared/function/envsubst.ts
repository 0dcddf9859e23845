import type { Env } from '../config/env.ts'
import { InvalidConfigError } from '../errors.ts'

/** Everything that begins with a dollar sign and means something: `$$`, `${...}`. */
const REFERENCE = /\$(?:\$|\{([^}]*)\})/g

/** `NAME`, `NAME:-default`, `NAME:=default`. The default ends at the first closing brace. */
const FORM = /^([A-Za-z_][A-Za-z0-9_]*)(?::[-=](.*))?$/s

/**
 * Substitutes variables as faas-cli does over the whole text of a stack file: an absent variable
 * is an empty string, an empty one takes the default, `$$` is a dollar sign. The forms of bash
 * that cut or rewrite values are refused rather than passed on as text.
 */
export function substituteEnv(text: string, env: Env): string {
  return text.replaceAll(REFERENCE, (whole, reference: string | undefined) => {
    if (reference === undefined) return '$'
    const form = FORM.exec(reference)
    if (!form) throw new InvalidConfigError(`The stack file uses ${whole}, which is not supported.`)
    return env[form[1]!] || (form[2] ?? '')
  })
}
