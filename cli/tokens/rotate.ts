import type { CommandHost } from '../host.ts'
import { findDatabase } from '../client/cluster-database.ts'
import { formatPairs } from '../output/table.ts'
import { renewAdminToken } from '../up/admin-token.ts'
import type { DataLayout } from '../up/data-layout.ts'
import { rotateKeys } from '../up/token-keys.ts'
import { findPrivateKey } from './create.ts'
import { recordOperation } from './operation.ts'

/** Another key from now on, and another admin token, which would end with the old one. */
export async function rotateKeyCommand(
  host: CommandHost,
  layout: DataLayout,
  { overlap }: { overlap: number },
): Promise<void> {
  await findPrivateKey(layout)
  const { kid, replaced } = await rotateKeys(layout, Math.floor(overlap / 1000))
  await renewAdminToken(layout)
  const database = await findDatabase(host, layout)
  const given = { overlap }
  const operation = { action: 'token rotate', resource: kid, given }
  try {
    await recordOperation(host, layout, database, operation)
  } finally {
    await database?.close()
  }
  const ends = replaced.map(
    ({ kid: old, until }) => ['good until', `${until.toISOString()}  ${old}`] as const,
  )
  host.stdout.write(
    formatPairs([
      ['signs from now on', kid],
      ...ends,
      ['admin token', `made anew in ${layout.adminToken}`],
    ]),
  )
  host.stderr.write(
    `Nodes of other machines need ${layout.tokenPublicKeys} before they know new tokens.\n`,
  )
}
