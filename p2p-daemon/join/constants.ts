import { KiB } from '../../shared/limits.ts'

/**
 * Offered beside `/tls/1.0.0` when a connection begins, so it is spoken in place of a connection
 * and never on one. The version is the last segment.
 */
export const JOIN_PROTOCOL = '/bzzz/join/1.0.0'

/** Who joins says a name and a few addresses. */
export const JOIN_REQUEST_BYTES_MAX = 8 * KiB

/** The members of the largest cluster with all their addresses. */
export const JOIN_ANSWER_BYTES_MAX = 256 * KiB

/** Handshake, question, writing the decision down, answer. libp2p cuts a handshake after 10 s. */
export const JOIN_TIMEOUT_MS = 8_000

/** After the answer; who has read it hangs up. */
export const JOIN_LINGER_MS = 2_000

/** Strangers at the door at once; more are turned away unheard. */
export const JOIN_CONVERSATIONS_MAX = 4

/** Strangers heard in a minute: what guessing costs this node, as nobody guesses 256 bits. */
export const JOIN_CONVERSATIONS_PER_MINUTE_MAX = 60

/** One address of the invitation: connection, handshake and answer. */
export const KNOCK_TIMEOUT_MS = 10_000

/** Invitations remembered; one that is made beyond it is refused until others expire. */
export const INVITATIONS_MAX = 64

/** Nodes that a reusable invitation lets in. */
export const INVITATION_USES_MAX = 64

/** Why an invitation fails is told for so long after it expired, if the door is open at all. */
export const INVITATION_KEPT_MS = 86_400_000

export const INVITATION_LIFETIME_DEFAULT_MS = 3_600_000
export const INVITATION_LIFETIME_MAX_MS = 30 * 86_400_000

/** How long `join` waits until the node is connected to who invited it. */
export const JOIN_CONNECTED_TIMEOUT_MS = 10_000

/** Between two looks whether it is. */
export const JOIN_CONNECTED_POLL_MS = 50

/** Pause between attempts to use an invitation that lay in the data folder; doubled each time. */
export const JOIN_RETRY_MIN_MS = 1_000
export const JOIN_RETRY_MAX_MS = 30_000
