import { readFile } from 'node:fs/promises'
import { text as readText } from 'node:stream/consumers'

import { InvalidArgumentError, type Command } from 'commander'
import type { JSONWebKeySet, JWK } from 'jose'

import { isRole, isScope, ROLES, SCOPES, type Role, type Scope } from '../../shared/auth/scopes.ts'
import { createToken, createTokenVerifier } from '../../shared/auth/token.ts'
import { duration } from '../../shared/config/env.ts'
import { InvalidRequestError, TokenInvalidError, TokenMissingError } from '../../shared/errors.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs } from '../output/table.ts'
import { readClaims, renewAdminToken } from '../up/admin-token.ts'
import { layoutOf, type DataLayout } from '../up/data-layout.ts'
import { readPrivateKey, rotateKeys } from '../up/token-keys.ts'

interface CreateOptions {
  subject: string
  role: Role
  scope?: Scope[]
  project?: string[]
  expires: number
  data?: string
}

interface InspectOptions {
  json?: boolean
  data?: string
}

interface RotateOptions {
  overlap: number
  data?: string
}

const LIFETIME_DEFAULT = '30d'

/** As long as a token lives by default, so that a rotation takes none of those away. */
const OVERLAP_DEFAULT = '30d'

export function tokenCommand(program: Command, host: CommandHost): void {
  const token = program.command('token').description('make and look at tokens')
  token
    .command('create')
    .description('sign a token with the key of a local cluster and print it, once')
    .requiredOption('--subject <name>', 'who it is for: a person, an agent, a service')
    .option('--role <role>', `one of ${Object.keys(ROLES).join(', ')}`, parseRole, 'agent')
    .option('--scope <scope...>', 'only these scopes of the role', parseScope)
    .option('--project <pattern...>', 'only these projects, such as apollo or apollo-*')
    .option(
      '--expires <duration>',
      'such as 12h or 90d',
      parseDuration,
      parseDuration(LIFETIME_DEFAULT),
    )
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: CreateOptions) => create(host, options))
  token
    .command('inspect')
    .description('show what a token says and whether it is good')
    .argument('[token]', 'the token, or - for stdin (default: the one in use)')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of the cluster')
    .action((given: string | undefined, options: InspectOptions) => inspect(host, given, options))
  token
    .command('rotate')
    .description('sign tokens with a new key; those of the old one stay good for a while')
    .option(
      '--overlap <duration>',
      'how long, such as 30d; 0s after a key was stolen',
      parseOverlap,
      parseOverlap(OVERLAP_DEFAULT),
    )
    .option('--data <dir>', 'data folder of the cluster')
    .action((options: RotateOptions) => rotate(host, options))
}

function layout(host: CommandHost, dataDir: string | undefined): DataLayout {
  return layoutOf(dataDir ?? readCliConfig(host.env).BZZZ_DATA)
}

async function create(host: CommandHost, options: CreateOptions): Promise<void> {
  const { subject, role, scope, project, expires, data } = options
  const folder = layout(host, data)
  const privateKey = await findPrivateKey(folder)
  const beyond = scope?.find((name) => !ROLES[role].includes(name))
  if (beyond) throw new InvalidRequestError(`The role ${role} does not have the scope ${beyond}.`)
  const token = await createToken(privateKey, {
    subject,
    role,
    lifetimeSeconds: Math.floor(expires / 1000),
    ...(scope && { scopes: scope }),
    ...(project && { projects: project }),
  })
  host.stdout.write(`${token}\n`)
}

/** @throws InvalidRequestError where the key is not: it stays where tokens are made */
async function findPrivateKey(folder: DataLayout): Promise<JWK> {
  return readPrivateKey(folder).catch((error: unknown) => {
    throw new InvalidRequestError(
      `${folder.tokenPrivateKey} cannot be read: tokens are made where the key of the cluster lies.`,
      { cause: error },
    )
  })
}

async function rotate(host: CommandHost, options: RotateOptions): Promise<void> {
  const folder = layout(host, options.data)
  await findPrivateKey(folder)
  const { kid, replaced } = await rotateKeys(folder, Math.floor(options.overlap / 1000))
  await renewAdminToken(folder)
  host.stdout.write(
    formatPairs([
      ['signs from now on', kid],
      ...replaced.map(({ kid: old, until }) => ['good until', `${until.toISOString()}  ${old}`]),
      ['admin token', `made anew in ${folder.adminToken}`],
    ] as [string, string][]),
  )
  host.stderr.write(
    `Nodes of other machines need ${folder.tokenPublicKeys} before they know new tokens.\n`,
  )
}

async function inspect(
  host: CommandHost,
  given: string | undefined,
  options: InspectOptions,
): Promise<void> {
  const folder = layout(host, options.data)
  const token = await tokenOf(host, given, folder)
  const claims = claimsOf(token)
  const state = await stateOf(token, folder)
  if (options.json) {
    host.stdout.write(`${JSON.stringify({ ...claims, state })}\n`)
    return
  }
  const { jti, sub, role, scopes, projects, exp } = claims
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
  folder: DataLayout,
): Promise<string> {
  if (given === '-') return (await readText(host.stdin)).trim()
  if (given !== undefined) return given
  const config = readCliConfig(host.env)
  if (config.BZZZ_TOKEN) return config.BZZZ_TOKEN
  try {
    return (await readFile(folder.adminToken, 'utf8')).trim()
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

/** `unknown` where the public keys of the cluster are not at hand. */
async function stateOf(token: string, folder: DataLayout): Promise<string> {
  const keys = await readFile(folder.tokenPublicKeys, 'utf8').catch(() => null)
  if (keys === null) return 'unknown (no keys to check it with)'
  try {
    await createTokenVerifier(JSON.parse(keys) as JSONWebKeySet)(token)
    return 'good'
  } catch (error) {
    return error instanceof Error ? `refused: ${error.message}` : 'refused'
  }
}

function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : '-'
}

function parseRole(text: string): Role {
  if (isRole(text)) return text
  throw new InvalidArgumentError(`It is one of ${Object.keys(ROLES).join(', ')}.`)
}

function parseScope(text: string, previous: Scope[] | undefined): Scope[] {
  if (isScope(text)) return [...(previous ?? []), text]
  throw new InvalidArgumentError(`It is one of ${SCOPES.join(', ')}.`)
}

function parseDuration(text: string): number {
  const result = duration.safeParse(text)
  if (result.success && result.data >= 1000) return result.data
  throw new InvalidArgumentError('It is a duration such as 12h or 90d.')
}

function parseOverlap(text: string): number {
  const result = duration.safeParse(text)
  if (result.success) return result.data
  throw new InvalidArgumentError('It is a duration such as 30d, or 0s.')
}
