/** A readiness check that takes longer counts as failed: probes themselves give up after 3-5 s. */
export const READY_CHECK_TIMEOUT_MS = 2000
