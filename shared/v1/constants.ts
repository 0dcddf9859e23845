import { KiB, MiB } from '../limits.ts'

/** Longest entry read. v1 sends no message above 1 MiB; an entry holds less than one. */
export const RECORD_BYTES_MAX = 4 * MiB

/** Of a longer one this much is kept, to be shown. */
export const RECORD_BYTES_SHOWN_MAX = 4 * KiB

/** As encoding/json of Go has it; deeper text is refused before it is parsed. */
export const NESTING_MAX = 10_000

/** Peer ids have 52 characters, types of entries 20. */
export const AUTHOR_CHARS_MAX = 128
export const TYPE_CHARS_MAX = 64

/** Chains of one file; v1 begins one at every start. All are looked at where a link is lost. */
export const CHAINS_MAX = 5_000

/** Claims remembered of one chain, to know the repository of what follows. */
export const CLAIMS_MAX = 50_000

/** Bytes read at once. */
export const READ_BYTES = 128 * KiB

/** Logs of one call; a folder with more is not one of logs. */
export const LOGS_MAX = 10_000
export const FOLDER_DEPTH_MAX = 8

/** Blocks of a hypercore read at once. */
export const BLOCKS_AT_ONCE_MAX = 256

/** Entries of one chunk: a second of work, so that little is done again after a crash. */
export const CHUNK_ENTRIES_MAX = 1_000
/** And their bytes, so that most chunks go into a batch with others. An entry may be larger. */
export const CHUNK_BYTES_MAX = 900 * KiB

/** Kinds of entries and conversations counted by name; v1 knows 17 kinds. */
export const TYPES_COUNTED_MAX = 256
export const THREADS_COUNTED_MAX = 200_000
