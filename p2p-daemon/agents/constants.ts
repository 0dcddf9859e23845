import { KiB } from '../../shared/limits.ts'

/** Signed gossip about agents. The last segment is the version of what a message holds. */
export const AGENT_TOPIC = 'bzzz/agents/v2'

/** Asks one node for all agents registered through it. */
export const AGENT_PROTOCOL = '/bzzz/agents/1.0.0'

/** Agents registered through one node. A machine runs a handful; a runaway script is stopped. */
export const AGENTS_PER_NODE_MAX = 256

/** Agents that a node remembers of the whole cluster: thirty nodes with far more than they run. */
export const AGENTS_MAX = 4096

/** One agent as JSON. All agents of a full node then fit the one answer to a node that joins. */
export const AGENT_BYTES_MAX = 3 * KiB

/** Skills, models and tools of one agent, of each kind. */
export const CAPABILITIES_MAX = 64

/** A model name with its provider, version and quantisation is half as long. */
export const CAPABILITY_CHARS_MAX = 128

/** Where an agent can be called. */
export const ENDPOINT_CHARS_MAX = 512

/** One gossip message; further agents go in the next one. */
export const ANNOUNCEMENT_BYTES_MAX = 64 * KiB

/** The answer to a node that joins: every agent of a full node with its times. */
export const SNAPSHOT_BYTES_MAX = AGENTS_PER_NODE_MAX * (AGENT_BYTES_MAX + 128) + 64 * KiB

/** How long an agent is listed after its last heartbeat, unless it asks for another lease. */
export const LEASE_DEFAULT_MS = 30_000

/** Below this a lease would run out between two announcements of a busy node. */
export const LEASE_MIN_MS = 5_000

/** An agent that works on one thing for an hour may be silent for as long. */
export const LEASE_MAX_MS = 3_600_000

/** Changes within this time go out as one message. */
export const ANNOUNCE_DELAY_MS = 100

/** Everything is announced again this often, so that a lost message heals. */
export const ANNOUNCE_INTERVAL_MS = 15_000

/**
 * How long what a node announced stands without hearing from that node again, however long the
 * leases of its agents are: three announcements may be lost before a node counts as gone.
 */
export const NODE_LEASE_MS = 3 * ANNOUNCE_INTERVAL_MS

/** How often leases are looked at. Lists leave out what has run out in any case. */
export const EXPIRY_INTERVAL_MS = 500

/** Messages that one node may send at once and in the long run; a full node needs 17 in 15 s. */
export const ANNOUNCEMENTS_BURST_MAX = 60
export const ANNOUNCEMENTS_PER_SECOND_MAX = 20

/** A peer that does not say what agents it has by then is asked again with the next round. */
export const SNAPSHOT_TIMEOUT_MS = 3_000

/** Nodes that a search asks after the DHT named them; the nearest answers are enough. */
export const PROVIDERS_ASKED_MAX = 8

/** How long such a search may look for them. */
export const DISCOVER_TIMEOUT_MS = 3_000

/** A client that fills the table is told to come back when a lease may have run out. */
export const FULL_RETRY_SECONDS = 30
