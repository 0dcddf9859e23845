import { KiB, MiB } from '../../shared/limits.ts'

/** A prompt with a dozen images in base64; the largest that OpenAI takes is 50 MB. */
export const JSON_REQUEST_BYTES_MAX = 64 * MiB

/** Sounds and images with a model in the same form: OpenAI takes 25 MB, four images 50 MB each. */
export const FORM_BYTES_MAX = 256 * MiB

/** All bodies that are held at once; more wait outside with 429. */
export const BODIES_BYTES_MAX = 512 * MiB

/** A model has a name, a provider and a version; OpenAI's longest is a quarter of it. */
export const MODEL_CHARS_MAX = 256

/** Longest query that is handed on; `include[]` and a cursor are far shorter. */
export const QUERY_CHARS_MAX = 2 * KiB

/** Connections to one upstream: each stream that is open holds one. */
export const CONNECTIONS_MAX = 4096

/** An answer that is not taken is read up to here, so that its connection can be used again. */
export const REFUSED_BYTES_MAX = 64 * KiB

/** Pauses between attempts where the upstream does not say: 250 ms, 500 ms, ... */
export const BACKOFF_MS = 250

/** A Retry-After may be a mistake; an upstream is avoided for no longer than this for one. */
export const COOL_DOWN_MS_MAX = 300_000

/** A server that is asked more often than this has less to give to calls. */
export const HEALTH_INTERVAL_MS_MIN = 1000

/** One that went away is noticed within the hour. */
export const HEALTH_INTERVAL_MS_MAX = 3_600_000

/** The configuration is a few hundred lines at most. */
export const CONFIG_BYTES_MAX = 1 * MiB

/** How often files of keys and of the configuration are looked at, while there are calls. */
export const LOOK_AGAIN_MS = 1000

/** A key is a line. */
export const KEY_BYTES_MAX = 16 * KiB

/** Values of a request or an answer that are looked at: numbers, names, usage. */
export const FIELD_BYTES_MAX = 16 * KiB

/** An event that is held back because it may be the one nobody asked for is far shorter. */
export const HELD_BYTES_MAX = 64 * KiB

/** The last event of the Responses API repeats the whole answer. */
export const EVENT_BYTES_MAX = 8 * MiB

/** A provider with thousands of models and a description of each. */
export const MODEL_LIST_BYTES_MAX = 4 * MiB

/** An upstream that is slower is left out of the list. */
export const MODEL_LIST_TIMEOUT_MS = 5000

/** A model that was just pulled shows up within this time. */
export const MODEL_LIST_TTL_MS = 15_000
