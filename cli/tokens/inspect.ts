import { readFile } from 'node:fs/promises'
import { text as readText } from 'node:stream/consumers'

import type { JSONWebKeySet } from 'jose'

import { databaseSource, DaemonSource } from '../../shared/auth/revocation-sources.ts'
import type { RevocationSource } from '../../shared/auth/revocations.ts'
import { grantedScopes, isRole } from '../../shared/auth/scopes.ts'
import { createTokenVerifier } from '../../shared/auth/token.ts'
import { TokenInvalidError, TokenMissingError } from '../../shared/errors.ts'
import { findDatabase } from '../client/cluster-database.ts'
import { findConnection } from '../client/connection.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs } from '../output/table.ts'
import { readClaims } from '../up/admin-token.ts'
import type { DataLayout } from '../up/data-layout.ts'

export interface InspectOptions {
  json?: boolean
  data?: string
}

/** Who asks for a look does not wait longer for each of those who keep revocations. */
const ASK_TIMEOUT_MS = 3_000

/** What a token says, whether the keys of the cluster verify it, and whether it was revoked. */
export async function inspectTokenCommand(
  host: CommandHost,
  layout: DataLayout,
  given: string | undefined,
  options: InspectOptions,
): Promise<void> {
  const token = await tokenOf(host, given, layout)
  const claims = claimsOf(token)
  const state = await stateOf(host, token, layout, options)
  const scopes = scopesOf(claims)
  if (options.json) {
    host.stdout.write(`${JSON.stringify({ ...claims, scopes, state })}\n`)
    return
  }
  const { jti, sub, role, projects, exp } = claims
  host.stdout.write(
    formatPairs([
      ['state', state],
      ['subject', String(sub)],
      ['role', String(role)],
      ['scopes', textOf(scopes)],
      ['projects', textOf(projects)],
      ['expires', typeof exp === 'number' ? new Date(exp * 1000).toISOString() : 'never'],
      ['id', String(jti)],
    ]),
  )
}

async function tokenOf(
  host: CommandHost,
  given: string | undefined,
  layout: DataLayout,
): Promise<string> {
  if (given === '-') return (await readText(host.stdin)).trim()
  if (given !== undefined) return given
  const config = readCliConfig(host.env)
  if (config.BZZZ_TOKEN) return config.BZZZ_TOKEN
  try {
    return (await readFile(layout.adminToken, 'utf8')).trim()
  } catch (error) {
    throw new TokenMissingError('There is no token: give one, or set BZZZ_TOKEN.', { cause: error })
  }
}

function claimsOf(token: string): Record<string, unknown> {
  try {
    return readClaims(token)
  } catch (error) {
    throw new TokenInvalidError('This is not a token of bzzz.', { cause: error })
  }
}

function scopesOf({ role, scopes }: Record<string, unknown>): unknown {
  if (typeof role !== 'string' || !isRole(role)) return scopes
  return grantedScopes(role, Array.isArray(scopes) ? scopes.map(String) : undefined)
}

/** `unknown` where the public keys of the cluster are not at hand. */
async function stateOf(
  host: CommandHost,
  token: string,
  layout: DataLayout,
  options: InspectOptions,
): Promise<string> {
  const text = await readFile(layout.tokenPublicKeys, 'utf8').catch(() => null)
  if (text === null) return 'unknown (no keys to check it with)'
  const keys = JSON.parse(text) as JSONWebKeySet
  try {
    const { id } = await createTokenVerifier(keys)(token)
    return await revocationOf(host, id, layout, keys, options)
  } catch (error) {
    return error instanceof Error ? `refused: ${error.message}` : 'refused'
  }
}

async function revocationOf(
  host: CommandHost,
  id: string,
  layout: DataLayout,
  keys: JSONWebKeySet,
  { data }: InspectOptions,
): Promise<string> {
  const database = await findDatabase(host, layout)
  try {
    const endpoints = await findConnection(host, data).then(
      ({ nodes }) => nodes.map(({ http }) => http),
      () => [],
    )
    const readKeys = () => Promise.resolve(keys)
    const sources = [
      new DaemonSource({ readKeys }, { endpoints }),
      ...(database ? [databaseSource(database.db)] : []),
    ]
    const lists = await Promise.all(sources.map(readInTime))
    if (lists.some((list) => list?.some(({ tokenId }) => tokenId === id))) return 'revoked'
    const asked = lists.some((list) => list !== null)
    return asked ? 'good' : 'good, unless revoked (nobody answers who would know)'
  } finally {
    await database?.close()
  }
}

async function readInTime(source: RevocationSource) {
  return source.read(AbortSignal.timeout(ASK_TIMEOUT_MS)).catch(() => null)
}

function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : '-'
}
