/** A peer that has not acknowledged a revocation by then is away; it learns of it by comparing. */
export const PUSH_TIMEOUT_MS = 3_000

/** Statements in one message: at their longest half of the 1 MiB that a message may have. */
export const STATEMENTS_PER_MESSAGE_MAX = 500
