import { MiB } from '../../shared/limits.ts'

/** Our own table, apart from the public one. */
export const KAD_PROTOCOL = '/bzzz/kad/1.0.0'

/** First segment of every record key; kad-dht finds validator and selector by it. */
export const RECORD_NAMESPACE = 'bzzz'

/** Keeps the key of an announced root from meaning anything else. */
export const ROOT_DOMAIN_TAG = 'bzzz/root/1'

/** A record must be found within the patience of somebody resolving an address. */
export const GET_TIMEOUT_MS = 3_000

/** Once a record was seen, how long to wait for a newer one from peers that are slow or dead. */
export const GET_GRACE_MS = 300

/**
 * One message to one peer. kad-dht waits for all peers it asks where to put something before it
 * puts anything, five seconds each by default, so one peer that hangs would use up all the time.
 */
export const MESSAGE_TIMEOUT_MIN_MS = 1_500
export const MESSAGE_TIMEOUT_MAX_MS = 2_000

/** Puts and announcements run in the background: two rounds of asking and one of telling. */
export const PUT_TIMEOUT_MS = 8_000
export const PROVIDE_TIMEOUT_MS = 8_000

/** The first provider comes within milliseconds in a mesh of twenty or fewer. */
export const FIND_PROVIDERS_TIMEOUT_MS = 3_000

/** A peer that just joined enters the routing table a moment later. */
export const TABLE_WAIT_MS = 1_000

/** Operations at once; each opens a stream to up to twenty peers. */
export const OPERATIONS_MAX = 100

/** DHT streams with one peer. kad-dht's 32 inbound fail silently under parallel lookups. */
export const STREAMS_PER_PEER_MAX = 2 * OPERATIONS_MAX

/** Records and provider entries kept for the table; the oldest unused go first. */
export const ENTRIES_MAX = 100_000
export const ENTRIES_BYTES_MAX = 64 * MiB
