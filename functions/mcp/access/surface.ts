import type {
  ListPromptsResult,
  ListResourcesResult,
  ListResourceTemplatesResult,
  ListToolsResult,
} from '@modelcontextprotocol/server'
import { LRUCache } from 'lru-cache'

import type { Scope } from '../../../shared/auth/scopes.ts'
import { VIEWS_MAX } from '../constants.ts'
import type { PromptRow } from '../prompts/prompt.ts'
import type { ResourceRow } from '../resources/resource.ts'
import type { Tool } from '../tools/tool.ts'
import type { Selection } from './selection.ts'

/** The one table that says what there is and which scope each of it needs. */
export interface Table {
  tools: readonly Tool[]
  resources: readonly ResourceRow[]
  prompts: readonly PromptRow[]
}

/** What one set of scopes sees, with the lists made once. Nothing of a caller is in it. */
export interface View {
  tools: ReadonlyMap<string, Tool>
  prompts: ReadonlyMap<string, PromptRow>
  resources: readonly ResourceRow[]
  toolNames: readonly string[]
  lists: {
    tools: ListToolsResult
    prompts: ListPromptsResult
    resources: ListResourcesResult
    templates: ListResourceTemplatesResult
  }
}

/** What a message asks for, whoever sends it. */
export interface Asked {
  /** As the protocol names it: `tools/call`. */
  method: string
  /** The row’s name; `unknown` for what is not in the table, so that metrics stay few. */
  name: string
  /** Null where any good token will do, or where there is no such row. */
  scope: Scope | null
}

export const UNKNOWN = 'unknown'

/** Filters the table by scopes, and tells which scope a message needs. */
export class Surface {
  readonly #table: Table
  readonly #tools: ReadonlyMap<string, Tool>
  readonly #prompts: ReadonlyMap<string, PromptRow>
  readonly #views = new LRUCache<string, View>({ max: VIEWS_MAX })

  constructor(table: Table) {
    this.#table = table
    this.#tools = new Map(table.tools.map((tool) => [tool.name, tool]))
    this.#prompts = new Map(table.prompts.map((prompt) => [prompt.name, prompt]))
  }

  view(scopes: readonly Scope[], { toolsets, readOnly }: Selection): View {
    const key = [...scopes, '|', ...toolsets, readOnly].join(' ')
    const known = this.#views.get(key)
    if (known) return known
    const made = this.#make(scopes, { toolsets, readOnly })
    this.#views.set(key, made)
    return made
  }

  /** A tool of the table, also one that the caller does not see. */
  tool(name: string): Tool | undefined {
    return this.#tools.get(name)
  }

  /** Null for messages that ask for no row of the table. */
  asked(method: string, params: unknown): Asked | null {
    const given = (params ?? {}) as { name?: unknown; uri?: unknown; ref?: unknown }
    if (method === 'tools/call') return this.#row(method, this.#tools.get(textOf(given.name)))
    if (method === 'prompts/get') return this.#row(method, this.#prompts.get(textOf(given.name)))
    if (method === 'resources/read') {
      const uri = textOf(given.uri)
      const row = this.#table.resources.find((one) => one.match(uri) !== null)
      return this.#row(method, row)
    }
    if (method !== 'completion/complete') return null
    const ref = (given.ref ?? {}) as { type?: unknown; name?: unknown; uri?: unknown }
    const row =
      ref.type === 'ref/prompt'
        ? this.#prompts.get(textOf(ref.name))
        : this.#table.resources.find(({ uri }) => uri === ref.uri)
    return this.#row(method, row)
  }

  #row(method: string, row: { name: string; scope: Scope | null } | undefined): Asked {
    return { method, name: row?.name ?? UNKNOWN, scope: row?.scope ?? null }
  }

  #make(scopes: readonly Scope[], { toolsets, readOnly }: Selection): View {
    const held = ({ scope }: { scope: Scope | null }) => scope === null || scopes.includes(scope)
    const tools = this.#table.tools.filter(
      (tool) =>
        held(tool) &&
        (!readOnly || tool.readOnly) &&
        tool.toolsets.some((toolset) => toolsets.includes(toolset)),
    )
    const resources = this.#table.resources.filter(held)
    const prompts = this.#table.prompts.filter(held)
    return {
      tools: new Map(tools.map((tool) => [tool.name, tool])),
      prompts: new Map(prompts.map((prompt) => [prompt.name, prompt])),
      resources,
      toolNames: tools.map(({ name }) => name),
      lists: {
        tools: { tools: tools.map(({ listed }) => listed) },
        prompts: { prompts: prompts.map(({ listed }) => listed) },
        resources: {
          resources: resources.flatMap(({ listed }) =>
            'resource' in listed ? [listed.resource] : [],
          ),
        },
        templates: {
          resourceTemplates: resources.flatMap(({ listed }) =>
            'template' in listed ? [listed.template] : [],
          ),
        },
      },
    }
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
