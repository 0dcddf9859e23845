import { APPEND_MESSAGES_MAX } from '../../shared/thread/constants.ts'

/** Topic of the steps of imports; the connector runs few of them at once. */
export const STEPS_TOPIC = 'migrate-v1'

/** Chunks of one flow; the next flow follows when they are done. */
export const FLOW_CHUNKS_MAX = 64

/** Threads of one job, and jobs of threads of one flow. */
export const STEP_THREADS_MAX = 16
export const FLOW_THREAD_STEPS_MAX = 64

/** Entries read from the index and appended at once: what one version of a thread may add. */
export const APPEND_ENTRIES = APPEND_MESSAGES_MAX

/** Threads of one job that are written at once: each has its own record. */
export const THREADS_AT_ONCE_MAX = 4

/** Entries fetched in one answer while a chunk is verified, and answers on their way at once. */
export const PAGE_ENTRIES = 250
export const PAGES_AT_ONCE_MAX = 2

/** Entries stored in one request: so many copies are on their way to other nodes at once. */
export const PUT_ENTRIES = 250

/** What a caller may send at once: chunks and set-aside records of an import. */
export const REGISTER_ITEMS_MAX = 500

/** Chains and kinds that a report names; it says when there are more. */
export const REPORT_ITEMS_MAX = 10_000

/** Imports that a list shows. */
export const IMPORTS_LISTED_MAX = 100

/** Ids of messages that are kept to find what they answer; v1's have 20 characters. */
export const MESSAGE_ID_CHARS_MAX = 200

/** What one call of an undo takes back at most; the caller asks again until nothing is left. */
export const UNDO_ITEMS = 64
export const UNDO_CHUNKS = 8

/** Chunks listed at once. */
export const CHUNKS_LISTED_MAX = 500
