import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chown, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { DataFolderIncompleteError, ProcessStartError } from '../../../shared/errors.ts'
import { syncFolder, writeDurable } from '../durable-file.ts'
import type { PostgresBinaries } from './binaries.ts'
import type { RunAs, SystemUser } from './system-user.ts'

/** Files of the embedded server. All belong to its account and are closed to others. */
export interface PostgresLayout {
  folder: string
  data: string
  password: string
  port: string
}

/** Release of the binaries; a data directory belongs to one. */
export const POSTGRES_MAJOR = 18

export const SUPERUSER = 'bzzz'

export function postgresLayoutOf(folder: string): PostgresLayout {
  return {
    folder,
    data: join(folder, 'data'),
    password: join(folder, 'password'),
    port: join(folder, 'port'),
  }
}

export async function makePostgresFolder(folder: string, user: SystemUser | null): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if (user) await chown(folder, user.uid, user.gid)
}

/** Writes a file that the server's account may read, and nobody else but root. */
export async function writeOwned(
  path: string,
  text: string,
  user: SystemUser | null,
): Promise<void> {
  await writeDurable(path, text, 0o600)
  if (user) await chown(path, user.uid, user.gid)
}

/**
 * Is there a database to start? An absent one is a fresh start only if none was ever made here.
 * @throws DataFolderIncompleteError, ProcessStartError for one of another release
 */
export async function isInitialised(layout: PostgresLayout, before: boolean): Promise<boolean> {
  const versionFile = join(layout.data, 'PG_VERSION')
  if (existsSync(versionFile)) {
    const major = Number((await readFile(versionFile, 'utf8')).trim())
    if (major !== POSTGRES_MAJOR) {
      throw new ProcessStartError(
        `The database in ${layout.data} is of PostgreSQL ${major} and this version of bzzz brings ${POSTGRES_MAJOR}: start the version of bzzz that made it.`,
      )
    }
    if (existsSync(layout.password)) return true
  } else if (!before && !existsSync(layout.data)) {
    return false
  }
  throw new DataFolderIncompleteError(
    `The database in ${layout.folder} is not complete, and a new one is never made over a used one: restore the folder from a backup, or name another with --data.`,
  )
}

/**
 * Makes the database beside its final place and renames it there, so that a crash leaves either
 * none or a whole one.
 */
export async function initialise(
  layout: PostgresLayout,
  binaries: PostgresBinaries,
  user: SystemUser | null,
  as: RunAs,
): Promise<void> {
  const fresh = `${layout.data}.new`
  await rm(fresh, { recursive: true, force: true })
  await writeOwned(layout.password, randomBytes(24).toString('base64url'), user)
  const [command, ...args] = [
    ...as.prefix,
    binaries.initdb,
    `--pgdata=${fresh}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${layout.password}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  ]
  try {
    await promisify(execFile)(command!, args, { ...as.options, cwd: '/' })
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
    throw new ProcessStartError(
      `initdb did not make a database in ${layout.folder}: ${output || 'no reason given'}.`,
      { cause: error },
    )
  }
  await rename(fresh, layout.data)
  await syncFolder(layout.folder)
}
