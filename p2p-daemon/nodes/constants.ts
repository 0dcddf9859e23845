/** The version is the last segment. */
export const MEMBERSHIP_PROTOCOL = '/bzzz/membership/1.0.0'

/** Questions about the state of a node, and telling it that another one is gone. */
export const MEMBERSHIP_TIMEOUT_MS = 5_000

/** Members named in one message; the clusters this is made for have at most thirty. */
export const MEMBERS_MAX = 256

/** Admissions remembered, so that a node that was away learns of them when it comes back. */
export const ADMISSIONS_MAX = 256

/**
 * Of two connections between the same two nodes one may close with a request on it. The pause
 * grows with each attempt; under two minutes in all.
 */
export const TELL_ATTEMPTS_MAX = 20
export const TELL_PAUSE_MS = 500

/** Removals remembered, so that a node that was away learns of them when it comes back. */
export const REMOVALS_MAX = 256
