import { readFileSync } from 'node:fs'

/** The version of package.json; a bundle defines it at build time instead. */
declare const BZZZ_BUILD_VERSION: string | undefined

function read(): string {
  if (typeof BZZZ_BUILD_VERSION === 'string') return BZZZ_BUILD_VERSION
  const file = new URL('../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

export const VERSION = read()
