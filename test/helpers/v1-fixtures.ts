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

interface CoreFixture {
  dir: string
  key: string
  length: number
  byteLength: number
  fork: number
  tree_hash: string
  v1_chain?: 'valid'
  v1_first_bad_position?: number
  missing_blocks?: number[]
  tampered_block?: number
}

interface CoreManifest {
  cores: CoreFixture[]
  corestore_dir: { dir: string; names: Record<string, { key: string; tree_hash: string }> }
}

/** Where entries were cut out of a chain: the manifest says it in words. */
const CUT_AT: Readonly<Record<string, number>> = { 'hypercore/truncated-fork': 280 }

const coreManifest = JSON.parse(
  readFileSync(v1Fixture('hypercore/hypercore-manifest.json'), 'utf8'),
) as CoreManifest

/** The cores below test/fixtures/v1, with the first position that is no good and why. */
export const v1Cores = {
  ...coreManifest,
  cores: coreManifest.cores.map((core) => ({ ...core, ...firstBadOf(core) })),
}

function firstBadOf(core: CoreFixture): { firstBad: number | null; reason: string | null } {
  const { missing_blocks: missing, tampered_block: tampered, v1_first_bad_position: broken } = core
  if (missing) return { firstBad: missing[0]!, reason: 'missing_block' }
  if (tampered !== undefined) return { firstBad: tampered, reason: 'tampered_block' }
  if (broken !== undefined) return { firstBad: broken, reason: 'hash_mismatch' }
  const cut = CUT_AT[core.dir]
  return { firstBad: cut ?? null, reason: cut === undefined ? null : 'prev_hash_mismatch' }
}
