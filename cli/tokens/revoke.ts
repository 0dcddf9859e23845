import { text as readText } from 'node:stream/consumers'

import { signRevocation } from '../../shared/auth/revocation.ts'
import { listTokens, storeRevocation } from '../../shared/auth/token-registry.ts'
import { TOKEN_LIFETIME_SECONDS_MAX, TOKEN_PREFIX } from '../../shared/auth/token.ts'
import type { OpenDatabase } from '../../shared/db/database.ts'
import { DaemonUnavailableError, InvalidRequestError } from '../../shared/errors.ts'
import { findDatabase } from '../client/cluster-database.ts'
import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs } from '../output/table.ts'
import { readClaims } from '../up/admin-token.ts'
import type { DataLayout } from '../up/data-layout.ts'
import { findPrivateKey } from './create.ts'
import { recordOperation } from './operation.ts'

export interface RevokeOptions {
  reason: string
  data?: string
}

/** What of a token is needed to take it back. */
interface Revoked {
  id: string
  expiresAt: Date
}

interface Told {
  told: string[]
  notTold: string[]
}

/**
 * Signs the revocation and gives it to whoever carries it: the database, and a node, which tells
 * the others. Either one is enough for it to spread; the other is warned about.
 */
export async function revokeTokenCommand(
  host: CommandHost,
  layout: DataLayout,
  given: string,
  options: RevokeOptions,
): Promise<void> {
  const privateKey = await findPrivateKey(layout)
  const database = await findDatabase(host, layout)
  try {
    const revoked = await identify(host, database, given)
    const { id, expiresAt } = revoked
    const statement = await signRevocation(privateKey, {
      tokenId: id,
      expiresMs: expiresAt.getTime(),
    })
    const [stored, told] = await Promise.allSettled([
      store(database, { ...revoked, reason: options.reason, statement }),
      tellNodes(host, options, statement),
    ])
    await recordOperation(host, layout, database, {
      action: 'token revoke',
      resource: id,
      given: { reason: options.reason },
    })
    report(host, id, stored, told)
  } finally {
    await database?.close()
  }
}

/** A token itself, read from stdin with `-`, or its id. */
async function identify(
  host: CommandHost,
  database: OpenDatabase | null,
  given: string,
): Promise<Revoked> {
  const text = given === '-' ? (await readText(host.stdin)).trim() : given
  const longest = new Date(Date.now() + TOKEN_LIFETIME_SECONDS_MAX * 1000)
  if (text.startsWith(TOKEN_PREFIX)) return fromToken(text)
  if (!/^[\w-]{1,64}$/.test(text)) {
    throw new InvalidRequestError('Give a token or its id, as bzzz token ls shows it.')
  }
  const known = database && (await listTokens(database.db, { all: true, id: text }).catch(() => []))
  // Of one that is not listed nobody knows the end: then as late as it can be.
  return { id: text, expiresAt: known?.[0]?.expiresAt ?? longest }
}

function fromToken(token: string): Revoked {
  try {
    const { jti, exp } = readClaims(token)
    if (typeof jti === 'string' && typeof exp === 'number') {
      return { id: jti, expiresAt: new Date(exp * 1000) }
    }
  } catch {
    // Said below.
  }
  throw new InvalidRequestError('This is not a token of bzzz.')
}

async function store(
  database: OpenDatabase | null,
  revocation: Parameters<typeof storeRevocation>[1],
): Promise<void> {
  if (!database) throw new Error('the database is not known')
  await storeRevocation(database.db, revocation)
}

async function tellNodes(
  host: CommandHost,
  options: RevokeOptions,
  statement: string,
): Promise<Told> {
  const node = await findNode(host, options.data === undefined ? {} : { data: options.data })
  return node.json('/v1/revocations', { method: 'POST', json: { statements: [statement] } })
}

/** @throws DaemonUnavailableError when nobody took it */
function report(
  host: CommandHost,
  id: string,
  stored: PromiseSettledResult<void>,
  told: PromiseSettledResult<Told>,
): void {
  const problems = [
    ...(stored.status === 'rejected' ? [`database: ${messageOf(stored.reason)}`] : []),
    ...(told.status === 'rejected' ? [`nodes: ${messageOf(told.reason)}`] : []),
    ...(told.status === 'fulfilled' ? told.value.notTold.map((name) => `${name}: no answer`) : []),
  ]
  if (stored.status === 'rejected' && told.status === 'rejected') {
    throw new DaemonUnavailableError(`Nobody took the revocation:\n  ${problems.join('\n  ')}`)
  }
  host.stdout.write(
    formatPairs([
      ['revoked', id],
      ['effective', 'within 10 seconds, at the nodes at once'],
    ]),
  )
  if (problems.length === 0) return
  host.stderr.write(`Not told, and told later only by the others:\n  ${problems.join('\n  ')}\n`)
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}
