/** Docker and systemd kill after 10 s unless told otherwise; half of it leaves room for both. */
export const STOP_TIMEOUT_MS = 5000

/** A parent that does not read its channel must not keep a failed child from exiting. */
export const EXIT_MESSAGE_TIMEOUT_MS = 1000
