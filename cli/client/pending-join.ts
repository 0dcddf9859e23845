import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import {
  inspectDataFolder,
  makeDataFolder,
  newMarker,
  nodeNameOf,
  writeMarker,
} from '../up/data-folder.ts'
import { layoutOf } from '../up/data-layout.ts'
import { writeDurable } from '../up/durable-file.ts'

/**
 * Leaves an invitation for the first node of a data folder, which uses it when it starts. A folder
 * that is not there yet is made.
 * @throws DataFolderForeignError, InvalidConfigError for another name than the node has
 */
export async function leavePendingJoin(
  dataDir: string,
  text: string,
  wanted: string | undefined,
): Promise<{ name: string; root: string }> {
  const layout = layoutOf(dataDir)
  const found = await inspectDataFolder(dataDir)
  const name = nodeNameOf(layout, wanted, found)
  await makeDataFolder(dataDir)
  await writeMarker(layout, { ...(found ?? newMarker()), name })
  const folder = join(layout.nodes, name, 'config')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeDurable(join(folder, 'join'), `${text.trim()}\n`, 0o600)
  return { name, root: layout.root }
}
