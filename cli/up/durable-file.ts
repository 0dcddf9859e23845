import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Suffix of a file that is being written. A crash leaves at most one of these beside the old. */
export const PARTIAL_SUFFIX = '.tmp'

/**
 * Replaces a small file as a whole. After a crash or a power cut it holds the old or the new text,
 * never a part of either. `mode` holds from the first byte on.
 */
export async function writeDurable(path: string, text: string, mode = 0o644): Promise<void> {
  const partial = path + PARTIAL_SUFFIX
  const file = await open(partial, 'w', mode)
  try {
    await file.chmod(mode)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(partial, path)
  await syncFolder(dirname(path))
}

/** Makes the names in a folder (a new file, a rename) survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
