import { MiB } from '../../shared/limits.ts'

/** Our own table, apart from the public one. */
export const KAD_PROTOCOL = '/bzzz/kad/1.0.0'

/** First segment of every record key; kad-dht finds validator and selector by it. */
export const RECORD_NAMESPACE = 'bzzz'

/** Keep the key of an announced root or capability from meaning anything else. */
export const ROOT_DOMAIN_TAG = 'bzzz/root/1'
export const CAPABILITY_DOMAIN_TAG = 'bzzz/capability/1'

/** `model/…`, `tool/…`: a kind and a name fit; more is no name. */
export const CAPABILITY_CHARS_MAX = 256

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

/**
 * Peers asked in one lookup. A table of 10,000 nodes is searched with about forty questions, so
 * whoever needs more is being led astray by answers that name ever new peers.
 */
export const LOOKUP_PEERS_MAX = 100

/** A peer that just joined enters the routing table a moment later. */
export const TABLE_WAIT_MS = 1_000

/** Operations at once; each opens a stream to up to twenty peers. */
export const OPERATIONS_MAX = 100

/** DHT streams with one peer. kad-dht's 32 inbound fail silently under parallel lookups. */
export const STREAMS_PER_PEER_MAX = 2 * OPERATIONS_MAX

/** Records and provider entries kept for the table; the oldest unused go first. */
export const ENTRIES_MAX = 100_000
export const ENTRIES_BYTES_MAX = 64 * MiB

/** Announcements that other nodes keep end after this time; it is kad-dht's own default. */
export const PROVIDER_VALIDITY_MS = 48 * 60 * 60 * 1000

/** What was announced is announced again when it is this old, so two failed rounds lose nothing. */
export const REPROVIDE_AFTER_MS = 20 * 60 * 60 * 1000

/** How often it is looked which announcements have become due. */
export const REPROVIDE_TICK_MS = 60_000

/** Keys taken up at a time for announcing again. */
export const REPROVIDE_PAGE = 200

/**
 * Roots a node announces at most: at one a second, all of them are renewed within the time above.
 * More are found by asking the connected peers, which comes first anyway.
 */
export const PROVIDED_ROOTS_MAX = 50_000

/** Capabilities of the agents of one node; thirty agents with thirty skills each fit. */
export const PROVIDED_CAPABILITIES_MAX = 1_000

/** Roots announced per second in the long run, and how many may go at once after a quiet time. */
export const PROVIDES_PER_SECOND = 1
export const PROVIDE_BURST = 32

/** Announcements on their way at once: one that waits for a dead peer holds up no other. */
export const PROVIDES_AT_ONCE = 4

/** Keys that wait; beyond it a root stays written down as due and is taken up later. */
export const PROVIDE_QUEUE_MAX = 1_000

/** Pause after an announcement that nobody took. */
export const PROVIDE_RETRY_MS = 5_000

/** Keys in one message about providers: a withdrawal of many roots goes out in pages. */
export const PROVIDER_KEYS_PER_MESSAGE_MAX = 500

/** Connected peers asked directly; a larger mesh is asked through the table alone. */
export const DIRECT_PEERS_MAX = 32

/** How long a connected peer may take to say whether it provides something. */
export const DIRECT_TIMEOUT_MS = 1_000

/** All roots are compared with what is here this often, first when the start is over. */
export const ROOTS_PASS_INTERVAL_MS = 60 * 60 * 1000
export const ROOTS_PASS_DELAY_MS = 60_000

/** Announcements and heads read at a time; a page takes a few milliseconds. */
export const ROOTS_PER_PAGE = 200

/**
 * Of an address that is often written the newest content is announced, at most once in this time:
 * a withdrawal goes to every peer. Until then the holders of the address are asked.
 */
export const ROOTS_REST_MS = 5_000

/** Busy addresses that are remembered with what was announced of them. */
export const ROOTS_OFTEN_MAX = 10_000

/** Records of which it is looked at once whether their content is here. */
export const ROOTS_LOOKED_AT_ONCE_MAX = 256
