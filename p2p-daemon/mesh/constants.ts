import { KiB, MiB } from '../../shared/limits.ts'

/** Prefix of every protocol a node speaks; the last segment is the version. */
export const NODE_PROTOCOL = '/bzzz/node/1.0.0'

/** Largest request or answer. Control messages are small; content goes through a transfer. */
export const MESSAGE_BYTES_MAX = 1 * MiB

/** A peer that has not answered by then is treated as gone; callers try the next replica. */
export const REQUEST_TIMEOUT_MS = 10_000

/** Requests of one protocol waiting for one peer; beyond it the caller gets OverloadedError. */
export const REQUESTS_OUTSTANDING_MAX = 256

/** Streams of one protocol served to one peer: twice the above, closed ones linger a round trip. */
export const REQUESTS_SERVED_MAX = 2 * REQUESTS_OUTSTANDING_MAX

/** Answers that failed carry a code, a sentence and small details, nothing longer. */
export const ERROR_MESSAGE_CHARS_MAX = 1024

/** A node's account of itself and of the peers it knows. */
export const ANNOUNCEMENT_BYTES_MAX = 256 * KiB

/** Peers in one announcement; the clusters this is made for have at most thirty. */
export const ANNOUNCED_PEERS_MAX = 256

/** Addresses kept and announced for one peer: a few interfaces, old ones pushed out. */
export const ADDRESSES_PER_PEER_MAX = 8

/** A TCP multiaddr with a DNS name of 63 characters and a peer id fits twice over. */
export const ADDRESS_CHARS_MAX = 256

/** A connected peer that has not said who it is by then is hung up on. */
export const NODE_INFO_TIMEOUT_MS = 10_000

/** Changes of what a node says about itself within this time go out as one announcement. */
export const ANNOUNCE_DELAY_MS = 100

/**
 * After a join everybody is told again. A newcomer learns of all others when it arrives and dials
 * them, so this only helps two that arrived in the same moment; sooner, a cluster that starts
 * would drown in announcements (they grow with the cube of the nodes).
 */
export const JOIN_ANNOUNCE_DELAY_MS = 3_000

/** Everybody tells everybody again, so that a lost announcement heals. */
export const ANNOUNCE_INTERVAL_MS = 60_000

/** Heartbeat of a connection; also how old `latencyMs` may be. */
export const PING_INTERVAL_MS = 10_000

/** A busy event loop answers late; a dead host does not answer at all. */
export const PING_TIMEOUT_MS = 10_000

/**
 * Pings to one peer at once. libp2p allows one, so that of two parts that ping at the same time
 * one fails; kad-dht then leaves the peer out of its routing table for good.
 */
export const PINGS_MAX = 16

/** How often the allow-list file is looked at: a revoked peer must be cut within two seconds. */
export const ALLOW_LIST_POLL_MS = 500

/**
 * First pause before a peer is dialled again; doubles up to the maximum, with jitter. Nodes that
 * were apart for long agree again a minute after the network is back, and this is the start of it.
 */
export const RECONNECT_DELAY_MIN_MS = 250
export const RECONNECT_DELAY_MAX_MS = 10_000

/** How often the dialler looks for targets whose pause is over. */
export const RECONNECT_TICK_MS = 100

/** Dials in flight at once, so that many dead addresses do not starve the live ones. */
export const DIALS_PARALLEL_MAX = 8

/** Address lookup, TCP, TLS and muxer of one dial. */
export const DIAL_TIMEOUT_MS = 5_000

/** Bootstrap entries used; more than that is a mistake in the configuration. */
export const BOOTSTRAP_MAX = 64

/** Open connections; every pair of thirty nodes needs one or two. */
export const CONNECTIONS_MAX = 300

/** Connections a host may open in a second. libp2p's 5 breaks meshes with many nodes on a host. */
export const INBOUND_CONNECTIONS_PER_SECOND_MAX = 100

/** Handshakes in progress. libp2p's 10 breaks clusters that start all at once. */
export const INBOUND_PENDING_MAX = 100

/** Of our own, so that other programs' nodes on the network are not asked, and do not answer. */
export const MDNS_SERVICE_TAG = '_bzzz-mesh._udp.local'

/** How often the local network is asked who is there. */
export const MDNS_INTERVAL_MS = 10_000

/** Known addresses are written at most this often. */
export const ADDRESS_BOOK_WRITE_DELAY_MS = 500

/**
 * Bytes that one relayed connection may carry, both ways together. libp2p's 128 KiB are for
 * strangers; here only members come, and the largest blob has to get through. A connection that
 * has used it up is cut and made again.
 */
export const RELAY_BYTES_MAX = BigInt(64 * 1024 * MiB)

/** How long one relayed connection may live: so that one that was forgotten ends. */
export const RELAY_DURATION_MAX_MS = 24 * 60 * 60 * 1000

/** Reservations a relay gives: every node of a cluster of thirty, twice. */
export const RELAY_RESERVATIONS_SERVED_MAX = 64

/** Relayed connections that one peer may have through one relay, each a stream. */
export const RELAY_STREAMS_PER_PEER_MAX = 64

/** Relays at which a node can be reached: two, so that one may go. */
export const RELAY_RESERVATIONS_HELD_MAX = 2

/** Relays through which one peer is looked for. */
export const RELAYS_DIALLED_MAX = 8

/** One attempt to replace a relayed connection by a direct one, and how often it is made. */
export const HOLE_PUNCH_TIMEOUT_MS = 5_000
export const HOLE_PUNCH_ATTEMPTS_MAX = 3

/** Parts of a node that are told of joins and leaves; more is a leak. */
export const LISTENERS_MAX = 64
