import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface Rule {
  ok: boolean
  first_bad_position: number | null
  reason?: string
  entries_before_it: number
}

/** What another implementation, in Go, found in the logs. */
export interface V1Node {
  author: string
  entries: number
  head_hash: string
  genesis_hash: string
  by_type: Record<string, number>
  threads: number
  first_timestamp: string
  last_timestamp: string
  sha256_ndjson: string
}

interface Manifest {
  nodes: Record<string, V1Node>
  second_run: Record<string, V1Node>
  v1_emitted_only: { nodes: Record<string, V1Node> }
  merged: { file: string; lines: number }
  corrupt_base: { file: string; trusted_head_hash: string }
  benign: { file: string; entries: number; head_hash: string }[]
  corrupt: {
    file: string
    lines: number
    head_hash_in_file: string
    head_equals_trusted: boolean
    v1_VerifyIntegrity: Rule
    strict: Rule
  }[]
  totals: {
    by_type: Record<string, number>
    threads_by_topic: Record<string, number>
    threads_by_repo: Record<string, number>
    threads_with_more_than_one_author: number
    entries_without_thread: number
    meta_messages: Record<string, number>
  }
}

/** A file below test/fixtures/v1. */
export function v1Fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/v1/${name}`, import.meta.url))
}

export const v1Manifest = JSON.parse(readFileSync(v1Fixture('manifest.json'), 'utf8')) as Manifest
