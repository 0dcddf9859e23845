import type { ImportChunk, ImportQuarantine } from '../../shared/v1/import-parts.ts'
import type { CommandHost } from '../host.ts'
import { findConnection } from './connection.ts'
import { callJSON } from './http.ts'

/** An import as the function tells of it. */
export interface ImportJSON {
  id: string
  state: 'registered' | 'running' | 'done' | 'undoing' | 'undone'
  files: string[]
  createdBy: string
  createdAt: string
  finishedAt: string | null
  chunks: { total: number; done: number; verified: number }
  entries: { total: number; done: number; verified: number }
  threads: { total: number; done: number }
  quarantined: { records: number; segments: number }
  report: string | null
  reportAddress: string | null
  /** Why its jobs ended, where they failed for good. */
  problem: string | null
}

export interface UndoJSON {
  done: boolean
  entries: number
  threadsRemoved: number
  threadsKept: number
  quarantined: number
}

/** The function migrate-v1 behind the gateway. */
export interface MigrateClient {
  list(): Promise<ImportJSON[]>
  get(id: string): Promise<ImportJSON>
  register(row: { id: string; files: string[]; hosts: object }): Promise<ImportJSON>
  addChunks(id: string, chunks: readonly ImportChunk[]): Promise<void>
  addQuarantine(id: string, items: readonly ImportQuarantine[]): Promise<void>
  start(id: string): Promise<ImportJSON>
  undo(id: string): Promise<UndoJSON>
  chunks(id: string, after: number): Promise<{ chunks: ImportChunk[]; next: number | null }>
  entries(
    id: string,
    chunk: Pick<ImportChunk, 'log' | 'author' | 'genesis' | 'chunk'>,
  ): Promise<{ position: number; hash: string; blob: string }[]>
}

export async function findMigrate(
  host: CommandHost,
  options: { data?: string },
): Promise<MigrateClient> {
  const { gatewayURL, token } = await findConnection(host, options.data)
  const { signal } = host
  const base = `${gatewayURL}/function/migrate-v1/imports`
  const get = <T>(path: string) => callJSON<T>(base + path, { token, signal })
  const post = <T>(path: string, body: object) =>
    callJSON<T>(base + path, {
      method: 'POST',
      token,
      signal,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)),
    })
  return {
    list: async () => (await get<{ imports: ImportJSON[] }>('')).imports,
    get: (id) => get(`/${id}`),
    register: (row) => post('', row),
    addChunks: async (id, chunks) => void (await post(`/${id}/chunks`, { chunks })),
    addQuarantine: async (id, items) => void (await post(`/${id}/quarantine`, { items })),
    start: (id) => post(`/${id}/start`, {}),
    undo: (id) => post(`/${id}/undo`, {}),
    chunks: (id, after) => get(`/${id}/chunks?after=${after}`),
    entries: async (id, { log, author, genesis, chunk }) => {
      const query = new URLSearchParams({ log: String(log), author, genesis, chunk: String(chunk) })
      return (await get<{ entries: [] }>(`/${id}/entries?${query}`)).entries
    },
  }
}
