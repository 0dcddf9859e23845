/** Nodes of a data folder that nobody said anything else about: the least that serves. */
export const NODES_DEFAULT = 1

/** More on one machine gain nothing, and ports of one node would meet those of another. */
export const NODES_MAX = 9

/** From here on the highest port of a plan would pass 65,535. */
export const PORT_OFFSET_MAX = 56_000

/** A log file larger than this is set aside at start; with its predecessor that bounds both. */
export const LOG_BYTES_MAX = 16 * 1024 * 1024

/** How much of a log is shown when the part that wrote it did not come up. */
export const LAST_WORDS_BYTES_MAX = 4096
export const LAST_WORDS_LINES_MAX = 20

/** How often `--verbose` looks for new lines. Quick enough to read along with. */
export const LOG_FOLLOW_INTERVAL_MS = 200

/** A node is up in 2 s; on a machine with ten times more work than cores it took 20. */
export const PROCESS_READY_TIMEOUT_MS = 60_000

/** Recovery after a crash replays at most a checkpoint interval of WAL. */
export const POSTGRES_READY_TIMEOUT_MS = 60_000

/** Three nodes on loopback find each other in about a second once they may; the same allowance. */
export const MESH_READY_TIMEOUT_MS = 60_000

/** Between two looks at something that is about to become ready. */
export const READY_POLL_INTERVAL_MS = 50

/** One answer of a part that is asked whether it is ready. */
export const READY_REQUEST_TIMEOUT_MS = 2_000

/** `bzzz up` promises to be gone within 5 s; the rest is for the processes to be reaped. */
export const STOP_TIMEOUT_MS = 4_700

/**
 * From SIGTERM to SIGKILL, part by part in reverse order: gateway and connector, all nodes at once,
 * then Postgres, which has at least the rest and whatever the others did not need.
 */
export const GATEWAY_STOP_TIMEOUT_MS = 1_500
export const NODE_STOP_TIMEOUT_MS = 1_800
export const POSTGRES_STOP_TIMEOUT_MS =
  STOP_TIMEOUT_MS - GATEWAY_STOP_TIMEOUT_MS - NODE_STOP_TIMEOUT_MS

/** What the parts themselves leave to requests in flight; it ends before SIGKILL comes. */
export const DRAIN_TIMEOUT_MS = 1_000

/** First pause before a part that died is started again; doubled each time up to the second. */
export const RESTART_DELAY_MS = 250
export const RESTART_DELAY_MS_MAX = 10_000

/** A part that ran this long before it died starts again at the shortest pause. */
export const RESTART_CALM_MS = 60_000

/** How long the processes of a supervisor that was killed may still hold their ports. */
export const PREVIOUS_RUN_TIMEOUT_MS = 8_000

/** The token that `bzzz up` makes; it is renewed when less than the second is left. */
export const ADMIN_TOKEN_LIFETIME_SECONDS = 365 * 86_400
export const ADMIN_TOKEN_RENEW_SECONDS = 30 * 86_400
