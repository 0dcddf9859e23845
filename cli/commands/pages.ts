import type { Command } from 'commander'

import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { NodeClient } from '../client/node-client.ts'
import { integer } from './integer.ts'

export interface PageOptions {
  after?: string
  limit: number
  json?: boolean
  data?: string
}

/** What a node answers to a search: items, where to go on, and whether nodes are away. */
export type Pages<Key extends string, Item> = Record<Key, Item[]> & {
  next: string | null
  partial: boolean
}

/** The options of a command that lists addresses page by page. */
export function withPages(command: Command): Command {
  return command
    .option(
      '--limit <n>',
      'addresses to show at most',
      (text) => integer(text, 1, PAGE_SIZE_MAX),
      PAGE_SIZE_DEFAULT,
    )
    .option('--after <address>', 'go on behind this one')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
}

/** A node answers with a page of its own size; what was asked for may take several. */
export async function readPages<Key extends string, Item>(
  node: Pick<NodeClient, 'json'>,
  { path, key, pattern }: { path: string; key: Key; pattern: string },
  { after, limit }: PageOptions,
): Promise<Pages<Key, Item>> {
  const items: Item[] = []
  let next: string | null = after ?? ''
  let partial = false
  while (next !== null && items.length < limit) {
    const rest = String(limit - items.length)
    const query: URLSearchParams = new URLSearchParams({ pattern, after: next, limit: rest })
    const page: Pages<Key, Item> = await node.json<Pages<Key, Item>>(`${path}?${query}`)
    items.push(...page[key])
    next = page.next
    partial ||= page.partial
  }
  return { [key]: items, next, partial } as Pages<Key, Item>
}
