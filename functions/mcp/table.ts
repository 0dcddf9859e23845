import type { Table } from './access/surface.ts'
import { PROMPTS } from './prompts/table.ts'
import { RESOURCES } from './resources/table.ts'
import { TOOLS } from './tools/table.ts'

/** Everything that clients see, each row with the scope that it needs. */
export const TABLE: Table = { tools: TOOLS, resources: RESOURCES, prompts: PROMPTS }
