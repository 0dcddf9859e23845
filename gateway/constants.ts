/** The one namespace there is; faas-cli appends it to every name it invokes. */
export const NAMESPACE = 'openfaas-fn'

/** The user name that OpenFaaS's tools log in with; the password is an admin token. */
export const ADMIN_USER = 'admin'

/** Replicas of one function where its label names no largest number, as in OpenFaaS. */
export const REPLICAS_DEFAULT_MAX = 5

/** Replicas of one function whatever its label says: each has pools and caches of its own. */
export const REPLICAS_MAX = 20

/** Functions of one gateway. A team has a dozen; a loop that deploys must not fill the memory. */
export const FUNCTIONS_MAX = 100

/** Secrets of one gateway, for the same reason. */
export const SECRETS_MAX = 500

/** Largest value of a secret: what Docker Swarm allows, so that it can move there. */
export const SECRET_BYTES_MAX = 500_000

/** Log lines kept for each function, the newest ones: what `faas-cli logs` begins with. */
export const LOG_LINES_MAX = 1000

/** Bytes of those lines for each function; a few lines with stacks must not hold much memory. */
export const LOG_BYTES_MAX = 1024 * 1024

/** Lines that wait for one reader of a log. One that is slower than this misses the oldest. */
export const LOG_WAITING_MAX = 1000

/** Readers that follow a log at once; each holds a connection and its waiting lines. */
export const LOG_FOLLOWERS_MAX = 64

/**
 * Calls of one function in flight over HTTP, a connection each. Four times what a function takes by
 * default, so that the function says when it is too much; a hanging one holds no more than this.
 */
export const UPSTREAM_CONNECTIONS_MAX = 1024

/** Retry-After for one call more. */
export const UPSTREAM_RETRY_SECONDS = 1

/** A connection to a function is replaced after this, so that a new replica gets its share. */
export const CONNECTION_LIFE_MS = 60_000

/** How often a function that a platform runs is asked whether it is ready; told to people only. */
export const REPLICA_LOOK_MS = 5000

/** Longest wait for its answer. */
export const REPLICA_LOOK_TIMEOUT_MS = 2000

/** Revocations and audit rows: one each. Functions and the queue have their own. */
export const DATABASE_CONNECTIONS_MAX = 2
