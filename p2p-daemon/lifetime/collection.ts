/** What one collection did, as far as it has come. */
export interface Collection {
  dryRun: boolean
  state: 'running' | 'ended'
  phase: 'roots' | 'walk' | 'sweep' | 'end'
  /** `incomplete`: something spoke against deleting, `reason` says what. Null while it runs. */
  outcome: 'done' | 'incomplete' | 'cancelled' | 'failed' | null
  reason: string | null
  startedMs: number
  finishedMs: number | null
  /** Peer ids of those who must all tell their roots. */
  members: readonly string[]
  /** Distinct hashes that something refers to. */
  roots: number
  /** Blobs of this node compared with them. */
  checked: number
  /** Nothing refers to these now. */
  unreferenced: number
  unreferencedBytes: number
  /** Of these, what has been unreferenced for the whole grace: what is deleted, or would be. */
  candidates: number
  bytes: number
  examples: { hash: string; size: number }[]
  deleted: number
  deletedBytes: number
}

export function newCollection(
  init: Pick<Collection, 'dryRun' | 'startedMs' | 'members'>,
): Collection {
  return {
    ...init,
    state: 'running',
    phase: 'roots',
    outcome: null,
    reason: null,
    finishedMs: null,
    roots: 0,
    checked: 0,
    unreferenced: 0,
    unreferencedBytes: 0,
    candidates: 0,
    bytes: 0,
    examples: [],
    deleted: 0,
    deletedBytes: 0,
  }
}
