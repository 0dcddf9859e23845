/** The version is the last segment. */
export const MEMBERSHIP_PROTOCOL = '/bzzz/membership/1.0.0'

/** Questions about the state of a node, and telling it that another one is gone. */
export const MEMBERSHIP_TIMEOUT_MS = 5_000

/** Removals remembered, so that a node that was away learns of them when it comes back. */
export const REMOVALS_MAX = 256
