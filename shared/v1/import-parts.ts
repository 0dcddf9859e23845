/** A chunk of a chain as an import names it; its bytes are a blob. */
export interface ImportChunk {
  /** Which of the logs of the import. */
  log: number
  author: string
  /** Hash of the chain's first entry. */
  genesis: string
  chunk: number
  /** Position of the first entry. */
  start: number
  entries: number
  /** What the first entry links to, and the hash of the last. */
  previous: string
  head: string
  blob: string
}

/** Records of one chain that are set aside, with their raw bytes as a blob. */
export interface ImportQuarantine {
  file: string
  /** Where in the file the first of them lies. */
  offset: number
  author: string | null
  position: number
  records: number
  reason: string
  blob: string
  sizeBytes: number
}
