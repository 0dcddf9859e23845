import { InvalidArgumentError, type Command } from 'commander'

import {
  isRole,
  isScope,
  ROLE_NAMES,
  SCOPES,
  type Role,
  type Scope,
} from '../../shared/auth/scopes.ts'
import { duration } from '../../shared/config/env.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { createTokenCommand, type CreateOptions } from '../tokens/create.ts'
import { inspectTokenCommand, type InspectOptions } from '../tokens/inspect.ts'
import { listTokensCommand, type ListOptions } from '../tokens/list.ts'
import { revokeTokenCommand, type RevokeOptions } from '../tokens/revoke.ts'
import { rotateKeyCommand } from '../tokens/rotate.ts'
import { layoutOf, type DataLayout } from '../up/data-layout.ts'
import { parseDuration } from './duration.ts'

type WithData<T> = T & { data?: string }

const LIFETIME_DEFAULT = '30d'

/** As long as a token lives by default, so that a rotation takes none of those away. */
const OVERLAP_DEFAULT = '30d'

/** `bzzz token create|ls|inspect|revoke|rotate`. */
export function tokenCommand(program: Command, host: CommandHost): void {
  const token = program.command('token').description('make tokens, list them, take them back')
  const add = (usage: string, description: string): Command =>
    token
      .command(usage)
      .description(description)
      .option('--data <dir>', 'data folder of the cluster')
  add('create', 'sign a token with the key of a local cluster and print it, once')
    .requiredOption('--subject <name>', 'who it is for: a person, an agent, a service')
    .option('--role <role>', `one of ${ROLE_NAMES.join(', ')}`, parseRole, 'agent')
    .option('--scope <scope...>', 'only these scopes of the role', parseScope)
    .option('--project <pattern...>', 'only these projects, such as apollo or apollo-*')
    .option('--audience <url>', 'only for this resource, such as the MCP endpoint')
    .option(
      '--expires <duration>',
      'such as 12h or 90d',
      parseDuration,
      parseDuration(LIFETIME_DEFAULT),
    )
    .action((options: WithData<CreateOptions>) =>
      createTokenCommand(host, layout(host, options), options),
    )
  add('ls', 'list the tokens that were made, and which of them were revoked')
    .option('--all', 'those that have expired as well')
    .option('--subject <name>', 'only of this subject')
    .option('--json', 'print JSON')
    .action((options: WithData<ListOptions>) =>
      listTokensCommand(host, layout(host, options), options),
    )
  add('inspect', 'show what a token says and whether it is good')
    .argument('[token]', 'the token, or - for stdin (default: the one in use)')
    .option('--json', 'print JSON')
    .action((given: string | undefined, options: InspectOptions) =>
      inspectTokenCommand(host, layout(host, options), given, options),
    )
  add('revoke', 'take a token back')
    .argument('<token>', 'its id, the token itself, or - for stdin')
    .option('--reason <text>', 'why, for those who come after', '')
    .action((given: string, options: RevokeOptions) =>
      revokeTokenCommand(host, layout(host, options), given, options),
    )
  add('rotate', 'sign tokens with a new key; those of the old one stay good for a while')
    .option(
      '--overlap <duration>',
      'how long, such as 30d; 0s after a key was stolen',
      parseOverlap,
      parseOverlap(OVERLAP_DEFAULT),
    )
    .action((options: WithData<{ overlap: number }>) =>
      rotateKeyCommand(host, layout(host, options), options),
    )
}

function layout(host: CommandHost, { data }: { data?: string }): DataLayout {
  return layoutOf(data ?? readCliConfig(host.env).BZZZ_DATA)
}

function parseRole(text: string): Role {
  if (isRole(text)) return text
  throw new InvalidArgumentError(`It is one of ${ROLE_NAMES.join(', ')}.`)
}

function parseScope(text: string, previous: Scope[] | undefined): Scope[] {
  if (isScope(text)) return [...(previous ?? []), text]
  throw new InvalidArgumentError(`It is one of ${SCOPES.join(', ')}.`)
}

function parseOverlap(text: string): number {
  const result = duration.safeParse(text)
  if (result.success) return result.data
  throw new InvalidArgumentError('It is a duration such as 30d, or 0s.')
}
