import { KiB, MiB } from '../../shared/limits.ts'

/** Path of the endpoint; the gateway serves the same at `/function/mcp/mcp`. */
export const MCP_PATH = '/mcp'

/** A message with the largest content that a tool takes, in base64, and room around it. */
export const MESSAGE_BYTES_MAX = 2 * MiB

/** Content given or taken inline. More travels by HTTP (`bzzz put`, `PUT /<address>`). */
export const INLINE_BYTES_MAX = 1 * MiB

/**
 * Members and elements of the arguments of a call, counted before they are checked: checking is
 * what a hostile message makes expensive.
 */
export const ARGUMENT_ELEMENTS_MAX = 2_000

/** Text of one result. Below 25,000 tokens at the four characters a token has on the average. */
export const RESULT_CHARS_MAX = 80_000

/** Bytes of content in one answer: as text, and in base64, where a token stands for fewer. */
export const TEXT_BYTES_MAX = 48 * KiB
export const BASE64_BYTES_MAX = 24 * KiB

/** Items of one page. */
export const PAGE_ITEMS_MAX = 50
export const PAGE_ITEMS_DEFAULT = 20

/** Addresses of one `blob_stat`. */
export const STAT_ADDRESSES_MAX = 100
/** How many of them are asked for at once. */
export const STAT_CONCURRENCY = 8

/** Content that `blob_verify` reads again; larger blobs are what the scrubber is for. */
export const VERIFY_BYTES_MAX = 256 * MiB

/** Usage is told from so long ago on, unless a call says otherwise. */
export const USAGE_SINCE_DEFAULT_MS = 30 * 86_400_000
/** A row that lies further back is not asked for by anybody. */
export const USAGE_OFFSET_MAX = 100_000

/** Messages of a thread that a prompt shows: the last ones, and fewer where they are long. */
export const PROMPT_MESSAGES_MAX = 50

/** How long `job_get` waits for an end, below the 60 s after which common clients give up. */
export const JOB_WAIT_SECONDS_MAX = 20
/** How often it looks meanwhile. */
export const JOB_POLL_MS = 500
/** What a caller is told about how often to look. */
export const JOB_POLL_ADVICE_MS = 2_000
/** Pages of the queue that `job_list` goes through to find the caller's own. */
export const JOB_PAGES_MAX = 10

/** Values of one completion, as the protocol has it. */
export const COMPLETIONS_MAX = 100

/** Views of the table that are remembered: of scopes, toolsets and whether only to read. */
export const VIEWS_MAX = 256

/** Streams of `subscriptions/listen` at once; nothing here changes, so they only stay open. */
export const SUBSCRIPTIONS_MAX = 32

/** For audit rows that are searched; threads and usage bring no more. */
export const DATABASE_CONNECTIONS_MAX = 4

/** Subjects and tools whose rate is remembered in this process. */
export const RATE_KEYS_MAX = 50_000

/** Longest cache life that is promised: content never changes, yet tokens end. */
export const IMMUTABLE_TTL_MS = 86_400_000
/** Of what may change: lists by a change of token, the rest at any time. */
export const LIST_TTL_MS = 60_000
export const STATE_TTL_MS = 1_000
