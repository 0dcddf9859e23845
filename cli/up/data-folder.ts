import { constants } from 'node:fs'
import { access, mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

import { z } from 'zod'

import {
  DataFolderForeignError,
  DataFolderNewerError,
  DataFolderUnwritableError,
  InvalidConfigError,
} from '../../shared/errors.ts'
import { VERSION } from '../../shared/version.ts'
import { layoutOf, type DataLayout } from './data-layout.ts'
import { NODE_NAME_DEFAULT } from './ports.ts'
import { PARTIAL_SUFFIX, writeDurable } from './durable-file.ts'

/** The format this version writes. One that it cannot read has a higher number. */
const FORMAT = 1

const markerSchema = z.looseObject({
  format: z.int().min(1),
  createdBy: z.string(),
  createdAt: z.string(),
  /** Nodes started last time: the default of the next start. */
  nodes: z.int().min(1).optional(),
  /** Of the first node, which keeps it. */
  name: z.string().optional(),
  /** Present once initdb has succeeded: from then on an empty database is a loss, not a start. */
  postgres: z.object({ major: z.int() }).optional(),
})

export type Marker = z.output<typeof markerSchema>

/** What a crash between making the folder and naming it ours leaves, and what mounts bring. */
const HARMLESS = new Set(['lock.db', `bzzz.json${PARTIAL_SUFFIX}`, 'lost+found'])

/**
 * Looks at the folder without touching anything.
 * @returns null for one that is absent or empty, else its marker
 * @throws DataFolderForeignError, DataFolderNewerError, DataFolderUnwritableError
 */
export async function inspectDataFolder(dataDir: string): Promise<Marker | null> {
  const { root, marker } = layoutOf(dataDir)
  const names = await listFolder(root)
  if (!names.includes(basename(marker))) {
    if (names.some((name) => !HARMLESS.has(name))) {
      throw new DataFolderForeignError(
        `${root} holds other files and was not made by bzzz: name an empty or a new folder with --data.`,
      )
    }
    return null
  }
  return readMarker(marker)
}

/** Names in the folder; none when it does not exist yet but could be made. */
async function listFolder(root: string): Promise<string[]> {
  const existing = await nearestExisting(root)
  const found = await stat(existing)
  if (!found.isDirectory()) {
    throw new DataFolderUnwritableError(
      `${existing} is a file, not a folder: name another folder with --data.`,
    )
  }
  try {
    await access(existing, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw unwritable(existing, error)
  }
  return existing === root ? readdir(root) : []
}

/** Makes the folder where it is absent. @throws DataFolderUnwritableError */
export async function makeDataFolder(dataDir: string): Promise<void> {
  const { root } = layoutOf(dataDir)
  try {
    await makeFolder(root)
  } catch (error) {
    throw unwritable(root, error)
  }
}

/** Not mkdir's own `recursive`: that never returns where the kernel takes no folders (/proc). */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT') throw error
    await makeFolder(dirname(path))
    await mkdir(path)
  }
}

function unwritable(path: string, error: unknown): DataFolderUnwritableError {
  return new DataFolderUnwritableError(
    `${path} cannot be written to (${codeOf(error)}): change its owner, or name another folder with --data.`,
    { cause: error },
  )
}

async function nearestExisting(path: string): Promise<string> {
  try {
    await stat(path)
    return path
  } catch (error) {
    const parent = dirname(path)
    if (parent === path) throw error
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return nearestExisting(parent)
    throw new DataFolderUnwritableError(
      `${path} cannot be reached (${codeOf(error)}): name another folder with --data.`,
      { cause: error },
    )
  }
}

async function readMarker(path: string): Promise<Marker> {
  let marker: Marker
  try {
    marker = markerSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    throw new DataFolderForeignError(
      `${path} is not a marker that bzzz wrote: restore it from a backup, or name another folder with --data.`,
      { cause: error },
    )
  }
  if (marker.format > FORMAT) {
    throw new DataFolderNewerError(
      `${dirname(path)} has format ${marker.format} and this version of bzzz reads ${FORMAT}: start the version that wrote it (${marker.createdBy}) or a newer one.`,
    )
  }
  return marker
}

/**
 * What the first node of a folder is called, which it keeps: under another name it would begin
 * anew, with another identity beside all it has.
 * @throws InvalidConfigError
 */
export function nodeNameOf(
  { root }: DataLayout,
  wanted: string | undefined,
  found: Marker | null,
): string {
  const isNew = found?.nodes === undefined && found?.name === undefined
  const name = found?.name ?? (isNew ? (wanted ?? NODE_NAME_DEFAULT) : NODE_NAME_DEFAULT)
  if (wanted === undefined || wanted === name) return name
  throw new InvalidConfigError(
    `The node in ${root} is called ${name}: leave --name out, or name a new folder with --data.`,
  )
}

export function newMarker(): Marker {
  return { format: FORMAT, createdBy: VERSION, createdAt: new Date().toISOString() }
}

/** Makes the folder ours. The marker comes first: what is made after it is known to be our own. */
export async function writeMarker(layout: DataLayout, marker: Marker): Promise<void> {
  await writeDurable(layout.marker, JSON.stringify(marker, null, 2) + '\n')
}

/** Makes the folders that the parts expect. Secrets are in `config`, for the owner alone. */
export async function createFolders(layout: DataLayout): Promise<void> {
  await mkdir(layout.config, { recursive: true, mode: 0o700 })
  for (const folder of [layout.nodes, layout.logs, layout.cache]) {
    await mkdir(folder, { recursive: true })
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
