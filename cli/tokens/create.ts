import type { JWK } from 'jose'

import { ROLES, type Role, type Scope } from '../../shared/auth/scopes.ts'
import { registerToken, type IssuedToken } from '../../shared/auth/token-registry.ts'
import { createToken } from '../../shared/auth/token.ts'
import { parseProjectPattern } from '../../shared/address/project-pattern.ts'
import type { OpenDatabase } from '../../shared/db/database.ts'
import { InvalidRequestError } from '../../shared/errors.ts'
import { findDatabase } from '../client/cluster-database.ts'
import type { CommandHost } from '../host.ts'
import { readClaims } from '../up/admin-token.ts'
import type { DataLayout } from '../up/data-layout.ts'
import { readPrivateKey } from '../up/token-keys.ts'
import { recordOperation } from './operation.ts'

export interface CreateOptions {
  subject: string
  role: Role
  scope?: Scope[]
  project?: string[]
  audience?: string
  expires: number
}

/** Signs a token and prints it, once: what is kept of it does not let anybody make it again. */
export async function createTokenCommand(
  host: CommandHost,
  layout: DataLayout,
  options: CreateOptions,
): Promise<void> {
  const { subject, role, scope, audience, expires } = options
  const privateKey = await findPrivateKey(layout)
  const beyond = scope?.find((name) => !ROLES[role].includes(name))
  if (beyond) throw new InvalidRequestError(`The role ${role} does not have the scope ${beyond}.`)
  const project = options.project?.map(parseProjectPattern)
  const token = await createToken(privateKey, {
    subject,
    role,
    lifetimeSeconds: Math.floor(expires / 1000),
    ...(scope && { scopes: scope }),
    ...(project && { projects: project }),
    ...(audience !== undefined && { audience }),
  })
  await keepRecord(host, layout, issuedToken(token))
  host.stdout.write(`${token}\n`)
}

/** @throws InvalidRequestError where the key is not: it stays where tokens are made */
export async function findPrivateKey(layout: DataLayout): Promise<JWK> {
  return readPrivateKey(layout).catch((error: unknown) => {
    throw new InvalidRequestError(
      `${layout.tokenPrivateKey} cannot be read: tokens are made where the key of the cluster lies.`,
      { cause: error },
    )
  })
}

function issuedToken(token: string): IssuedToken {
  const { jti, sub, role, scopes, projects, iat, exp } = readClaims(token)
  return {
    id: String(jti),
    subject: String(sub),
    role: String(role),
    scopes: Array.isArray(scopes) ? scopes.map(String) : null,
    projects: Array.isArray(projects) ? projects.map(String) : [],
    createdAt: new Date(Number(iat) * 1000),
    expiresAt: new Date(Number(exp) * 1000),
  }
}

/** The token is good without it, so a database that is away is a warning. */
async function keepRecord(
  host: CommandHost,
  layout: DataLayout,
  issued: IssuedToken,
): Promise<void> {
  const database = await findDatabase(host, layout)
  try {
    const problem = await register(database, issued)
    if (problem !== null) {
      host.stderr.write(`${problem}: bzzz token ls will not show ${issued.id}.\n`)
    }
    const { id: resource, subject, role, scopes, projects, expiresAt } = issued
    const given = { subject, role, scopes, projects, expiresAt }
    await recordOperation(host, layout, database, { action: 'token create', resource, given })
  } finally {
    await database?.close()
  }
}

async function register(
  database: OpenDatabase | null,
  issued: IssuedToken,
): Promise<string | null> {
  if (!database) return 'The database is not known'
  return registerToken(database.db, issued).then(
    () => null,
    () => `The database at ${database.description} cannot be used`,
  )
}
