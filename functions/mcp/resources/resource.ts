import type {
  ReadResourceResult,
  Resource as ListedResource,
  ResourceTemplateType as ListedTemplate,
} from '@modelcontextprotocol/server'

import type { Scope } from '../../../shared/auth/scopes.ts'
import type { Call } from '../services.ts'

export type Contents = ReadResourceResult['contents'][number]

/** Values that a variable of a template may have, beginning with what was typed. */
export type Completer = (typed: string, call: Call) => Promise<readonly string[]>

interface ResourceSpec {
  name: string
  title: string
  description: string
  mimeType?: string
  scope: Scope
  /** How long what was read may be kept; the cache of a client is its own in any case. */
  ttlMs: number
  /** A variable is one segment, `{+name}` the rest. */
  uri: string
  complete?: Readonly<Record<string, Completer>>
  /** `variables` in the order of the template. @throws what a daemon answers */
  read(uri: string, variables: readonly string[], call: Call): Promise<Contents>
}

/** A row of the table. */
export interface ResourceRow {
  name: string
  uri: string
  scope: Scope
  ttlMs: number
  /** One of the two, as the lists show it. */
  listed: { resource: ListedResource } | { template: ListedTemplate }
  complete: Readonly<Record<string, Completer>>
  /** The variables when the row serves this, else null. */
  match(uri: string): readonly string[] | null
  read(uri: string, variables: readonly string[], call: Call): Promise<Contents>
}

const VARIABLE = /\{(\+?)\w+\}/g

export function defineResource(spec: ResourceSpec): ResourceRow {
  const { name, title, description, mimeType, uri, scope, ttlMs, complete = {} } = spec
  const common = { name, title, description, ...(mimeType !== undefined && { mimeType }) }
  const isTemplate = uri.includes('{')
  const pattern = new RegExp(
    `^${uri
      .split(/(\{\+?\w+\})/)
      .map((part) => (part.startsWith('{') ? part : escape(part)))
      .join('')
      .replaceAll(VARIABLE, (_, plus: string) => (plus ? '(.+)' : '([^/?#]+)'))}$`,
    's',
  )
  return {
    ...{ name, uri, scope, ttlMs, complete },
    listed: isTemplate
      ? { template: { ...common, uriTemplate: uri } }
      : { resource: { ...common, uri } },
    match: (given) => pattern.exec(given)?.slice(1) ?? null,
    read: (given, variables, call) => spec.read(given, variables, call),
  }
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

export function json(uri: string, value: object): Contents {
  return { uri, mimeType: 'application/json', text: JSON.stringify(value) }
}
