import { KiB } from '../limits.ts'

/** Text up to this many bytes stands in the message itself, so that a page needs no other blob. */
export const CONTENT_INLINE_BYTES_MAX = 8 * KiB

/** Content of one message, wherever it lies. What is larger is a file: store it, refer to it. */
export const CONTENT_BYTES_MAX = 16 * 1024 * KiB

/** A message with the longest texts it may have; anything longer is refused unread. */
export const MESSAGE_BYTES_MAX = 512 * KiB

/** A head with all the messages of the largest batch. */
export const HEAD_BYTES_MAX = 512 * KiB

/** Messages that one message follows: as many as a partition had sides, and some more. */
export const PARENTS_MAX = 64

/** What one message refers to beside its content. */
export const REFS_MAX = 64

/** Who wrote it, and what a message or a thread was called by whoever sent it. */
export const AUTHOR_CHARS_MAX = 256
export const KEY_CHARS_MAX = 256
export const TITLE_CHARS_MAX = 256

/** Messages of one call, and of one version of the head: both lists of a head fit its bytes. */
export const APPEND_MESSAGES_MAX = 500

/** Bytes of messages and contents that one version brings; a call of more goes alone. */
export const COMMIT_BYTES_MAX = 8 * 1024 * KiB

/** Calls that wait for one thread; an agent sends its next when the last was answered. */
export const WAITING_APPENDS_MAX = 4_096

/** A version is worth this wait for the calls of those who were just answered. */
export const GATHER_MS_MAX = 4

/** With so many waiting, a version is full enough to be on its way while the index follows. */
export const GATHER_CALLS_MAX = 64

/** Longest time for one version: the blobs and the record on a quorum of busy disks. */
export const COMMIT_TIMEOUT_MS = 60_000

/** How often a writer that lost the race for a version begins anew. Each time somebody won. */
export const COMMIT_ATTEMPTS_MAX = 64

/** What is known of a thread's head is asked again after this, so that a fork is seen. */
export const HEAD_FRESH_MS = 1_000

/** Threads whose head is remembered; 500 bytes each. */
export const THREADS_KNOWN_MAX = 10_000

/** Versions of a head looked at in one go. */
export const VERSIONS_PER_PAGE = 100

/** Versions whose messages are read and written to the index together. */
export const VERSIONS_AT_ONCE = 10

/** Blobs read at once: enough to fill the way to a daemon, not its connections. */
export const BLOBS_READ_AT_ONCE_MAX = 24

/** Characters of a message that are searched: a tsvector has at most 1 MiB. */
export const SEARCH_CHARS_MAX = 32 * KiB

/** A longer question is not one. */
export const QUERY_CHARS_MAX = 1_000

/** Forks of forks of forks; reading goes through all of them. */
export const FORK_DEPTH_MAX = 16

/** Messages read in one go by an export. */
export const EXPORT_PAGE_MESSAGES = 200

/** Problems that a verification tells of; a thread with more of them is no better for the rest. */
export const PROBLEMS_MAX = 100
