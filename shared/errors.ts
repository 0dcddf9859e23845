/**
 * The local error family: one class per case, each with a stable `code`.
 *
 * The wire family (what a caller over HTTP or libp2p sees) is derived from these in one place,
 * `shared/http/wire-error.ts`. Every class here has a row there and in docs/ERRORS.md; a test
 * holds the three together. Messages are one sentence, safe to show, free of secrets.
 */

export class InvalidAddressError extends Error {
  override readonly name = 'InvalidAddressError'
  readonly code = 'BZZZ_ADDRESS_INVALID'
}

export class InvalidHashError extends Error {
  override readonly name = 'InvalidHashError'
  readonly code = 'BZZZ_HASH_INVALID'
}

export class InvalidRequestError extends Error {
  override readonly name = 'InvalidRequestError'
  readonly code = 'BZZZ_REQUEST_INVALID'
}

/** A route that does not exist, as opposed to content that is not there. */
export class RouteNotFoundError extends Error {
  override readonly name = 'RouteNotFoundError'
  readonly code = 'BZZZ_ROUTE_NOT_FOUND'
}

export class BlobNotFoundError extends Error {
  override readonly name = 'BlobNotFoundError'
  readonly code = 'BZZZ_BLOB_NOT_FOUND'
}

export class AddressNotFoundError extends Error {
  override readonly name = 'AddressNotFoundError'
  readonly code = 'BZZZ_ADDRESS_NOT_FOUND'
}

export class VersionNotFoundError extends Error {
  override readonly name = 'VersionNotFoundError'
  readonly code = 'BZZZ_VERSION_NOT_FOUND'
}

export class PinNotFoundError extends Error {
  override readonly name = 'PinNotFoundError'
  readonly code = 'BZZZ_PIN_NOT_FOUND'
}

/** There is no such lease, or it has expired. */
export class LeaseNotFoundError extends Error {
  override readonly name = 'LeaseNotFoundError'
  readonly code = 'BZZZ_LEASE_NOT_FOUND'
}

/** There is no such hold on collecting, or it has expired. */
export class HoldNotFoundError extends Error {
  override readonly name = 'HoldNotFoundError'
  readonly code = 'BZZZ_HOLD_NOT_FOUND'
}

/** The policy of the cluster gives the address to other nodes. */
export class AuthorNotAllowedError extends Error {
  override readonly name = 'AuthorNotAllowedError'
  readonly code = 'BZZZ_AUTHOR_NOT_ALLOWED'
}

/** There is nothing to merge: each version of the address follows the one before it. */
export class NotForkedError extends Error {
  override readonly name = 'NotForkedError'
  readonly code = 'BZZZ_ADDRESS_NOT_FORKED'
}

/** One collection at a time on a node. */
export class CollectionRunningError extends Error {
  override readonly name = 'CollectionRunningError'
  readonly code = 'BZZZ_GC_RUNNING'
}

/** Somebody, a backup as a rule, asked that nothing be deleted for now. */
export class CollectionHeldError extends Error {
  override readonly name = 'CollectionHeldError'
  readonly code = 'BZZZ_GC_HELD'
}

/** A write would take a project over its limit. `quota` says how full it is. */
export class QuotaExceededError extends Error {
  override readonly name = 'QuotaExceededError'
  readonly code = 'BZZZ_QUOTA_EXCEEDED'
  readonly quota: { project: string; used: number; limit: number }
  constructor(message: string, quota: { project: string; used: number; limit: number }) {
    super(message)
    this.quota = quota
  }
}

/** The bytes that arrived do not have the hash the caller announced. Nothing was stored. */
export class HashMismatchError extends Error {
  override readonly name = 'HashMismatchError'
  readonly code = 'BZZZ_HASH_MISMATCH'
}

/**
 * Stored bytes no longer have their hash. The copy was quarantined and is never served; the read
 * may be tried again once a replica has repaired it.
 */
export class BlobCorruptError extends Error {
  override readonly name = 'BlobCorruptError'
  readonly code = 'BZZZ_BLOB_CORRUPT'
}

export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError'
  readonly code = 'BZZZ_BODY_TOO_LARGE'
}

/** The sender went away before the announced length arrived. Nothing was stored. */
export class UploadCutError extends Error {
  override readonly name = 'UploadCutError'
  readonly code = 'BZZZ_UPLOAD_CUT'
}

export class RangeNotSatisfiableError extends Error {
  override readonly name = 'RangeNotSatisfiableError'
  readonly code = 'BZZZ_RANGE_NOT_SATISFIABLE'
  readonly sizeBytes: number
  constructor(message: string, sizeBytes: number) {
    super(message)
    this.sizeBytes = sizeBytes
  }
}

/**
 * A compare-and-set lost: the address moved on since the caller last looked. `current` is the
 * record that stands now (a `RecordJSON`), or null when the address does not exist.
 */
export class VersionConflictError extends Error {
  override readonly name = 'VersionConflictError'
  readonly code = 'BZZZ_VERSION_CONFLICT'
  readonly current: unknown
  constructor(message: string, current: unknown) {
    super(message)
    this.current = current
  }
}

/** A record whose signature, key, chain or encoding does not hold. It is refused and counted. */
export class InvalidRecordError extends Error {
  override readonly name = 'InvalidRecordError'
  readonly code = 'BZZZ_RECORD_INVALID'
}

export class TokenMissingError extends Error {
  override readonly name = 'TokenMissingError'
  readonly code = 'BZZZ_TOKEN_MISSING'
}

export class TokenInvalidError extends Error {
  override readonly name = 'TokenInvalidError'
  readonly code = 'BZZZ_TOKEN_INVALID'
}

export class TokenExpiredError extends Error {
  override readonly name = 'TokenExpiredError'
  readonly code = 'BZZZ_TOKEN_EXPIRED'
}

export class TokenRevokedError extends Error {
  override readonly name = 'TokenRevokedError'
  readonly code = 'BZZZ_TOKEN_REVOKED'
}

/** The token is good but does not carry the scope or project that the route names. */
export class ScopeMissingError extends Error {
  override readonly name = 'ScopeMissingError'
  readonly code = 'BZZZ_SCOPE_MISSING'
}

/** Too many tokens from one remote address were refused. A good one goes through all the same. */
export class AuthThrottledError extends Error {
  override readonly name = 'AuthThrottledError'
  readonly code = 'BZZZ_AUTH_THROTTLED'
  readonly retryAfterSeconds: number
  constructor(message: string, retryAfterSeconds: number) {
    super(message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/**
 * What is done here must be written down, and there is no room left to do so: the database is away
 * and the rows that wait for it are as many as the limit. Nothing was done.
 */
export class AuditUnavailableError extends Error {
  override readonly name = 'AuditUnavailableError'
  readonly code = 'BZZZ_AUDIT_UNAVAILABLE'
  readonly retryAfterSeconds: number
  constructor(message: string, retryAfterSeconds: number) {
    super(message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** The chain of audit rows does not hold: one was changed, removed, added or moved. */
export class AuditBrokenError extends Error {
  override readonly name = 'AuditBrokenError'
  readonly code = 'BZZZ_AUDIT_BROKEN'
}

/** Too few holders acknowledged in time. What was stored stays; a retry is safe. */
export class QuorumNotReachedError extends Error {
  override readonly name = 'QuorumNotReachedError'
  readonly code = 'BZZZ_QUORUM_NOT_REACHED'
}

/** Most of the nodes are out of reach, so the write was not begun; nothing was stored. */
export class PartitionMinorityError extends Error {
  override readonly name = 'PartitionMinorityError'
  readonly code = 'BZZZ_PARTITION_MINORITY'
}

/** No daemon of the configured list answered. */
export class DaemonUnavailableError extends Error {
  override readonly name = 'DaemonUnavailableError'
  readonly code = 'BZZZ_DAEMON_UNAVAILABLE'
}

export class PeerUnreachableError extends Error {
  override readonly name = 'PeerUnreachableError'
  readonly code = 'BZZZ_PEER_UNREACHABLE'
}

/** A peer sent something that its protocol does not allow. The stream was reset. */
export class ProtocolViolationError extends Error {
  override readonly name = 'ProtocolViolationError'
  readonly code = 'BZZZ_PROTOCOL_VIOLATION'
}

/** More work than a named limit admits at once. `retryAfterSeconds` says when to come back. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError'
  readonly code = 'BZZZ_OVERLOADED'
  readonly retryAfterSeconds: number
  constructor(message: string, retryAfterSeconds: number) {
    super(message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** What was stored of a model call no longer has its hash, or its cost does not follow from it. */
export class ExchangeBrokenError extends Error {
  override readonly name = 'ExchangeBrokenError'
  readonly code = 'BZZZ_EXCHANGE_BROKEN'
}

/** A rule of the model calls is used up for now. Nothing was sent on. */
export class RateLimitExceededError extends Error {
  override readonly name = 'RateLimitExceededError'
  readonly code = 'BZZZ_RATE_LIMIT_EXCEEDED'
  readonly retryAfterSeconds: number
  /** How far the rules of the call are used up: `x-ratelimit-*`. */
  readonly limitHeaders: Readonly<Record<string, string>>
  constructor(
    message: string,
    retryAfterSeconds: number,
    limitHeaders: Readonly<Record<string, string>> = {},
  ) {
    super(message)
    this.retryAfterSeconds = retryAfterSeconds
    this.limitHeaders = limitHeaders
  }
}

/** The money of a day or a month is spent. Trying again before the next one is of no use. */
export class BudgetExceededError extends Error {
  override readonly name = 'BudgetExceededError'
  readonly code = 'BZZZ_BUDGET_EXCEEDED'
  readonly retryAfterSeconds: number
  /** How far the rules of the call are used up: `x-ratelimit-*`. */
  readonly limitHeaders: Readonly<Record<string, string>>
  constructor(
    message: string,
    retryAfterSeconds: number,
    limitHeaders: Readonly<Record<string, string>> = {},
  ) {
    super(message)
    this.retryAfterSeconds = retryAfterSeconds
    this.limitHeaders = limitHeaders
  }
}

/** Where limits are counted does not answer, and calls are not let through uncounted. */
export class LimitsUnavailableError extends Error {
  override readonly name = 'LimitsUnavailableError'
  readonly code = 'BZZZ_LIMITS_UNAVAILABLE'
}

export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError'
  readonly code = 'BZZZ_DATABASE_UNAVAILABLE'
}

export class DatabaseNewerError extends Error {
  override readonly name = 'DatabaseNewerError'
  readonly code = 'BZZZ_DATABASE_NEWER'
}

/** The schema lacks a migration of this release, and nobody said that it may be made here. */
export class DatabaseOlderError extends Error {
  override readonly name = 'DatabaseOlderError'
  readonly code = 'BZZZ_DATABASE_OLDER'
}

export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError'
  readonly code = 'BZZZ_REDIS_UNAVAILABLE'
}

/** The disk refused a write (full, read-only, broken). Reads go on. */
export class StorageUnavailableError extends Error {
  override readonly name = 'StorageUnavailableError'
  readonly code = 'BZZZ_STORAGE_UNAVAILABLE'
}

/** No member of the cluster has this peer id or name. */
export class NodeNotFoundError extends Error {
  override readonly name = 'NodeNotFoundError'
  readonly code = 'BZZZ_NODE_NOT_FOUND'
}

/** No live agent of this name is known, or none is registered through this node. */
export class AgentNotFoundError extends Error {
  override readonly name = 'AgentNotFoundError'
  readonly code = 'BZZZ_AGENT_NOT_FOUND'
}

/** The node still holds copies that nobody else has, or cannot give them away. */
export class NodeNotDrainedError extends Error {
  override readonly name = 'NodeNotDrainedError'
  readonly code = 'BZZZ_NODE_NOT_DRAINED'
}

/** The server that the jobs lie on does not answer. A job that was taken in is not lost by it. */
export class QueueUnavailableError extends Error {
  override readonly name = 'QueueUnavailableError'
  readonly code = 'BZZZ_QUEUE_UNAVAILABLE'
}

export class JobNotFoundError extends Error {
  override readonly name = 'JobNotFoundError'
  readonly code = 'BZZZ_JOB_NOT_FOUND'
}

/** The job is not in a state in which this can be done with it. */
export class JobStateError extends Error {
  override readonly name = 'JobStateError'
  readonly code = 'BZZZ_JOB_STATE'
}

/** An idempotency key came again with another call than the first time. */
export class IdempotencyMismatchError extends Error {
  override readonly name = 'IdempotencyMismatchError'
  readonly code = 'BZZZ_IDEMPOTENCY_MISMATCH'
}

/** There is a thread under this address already, made by somebody else. */
export class ThreadExistsError extends Error {
  override readonly name = 'ThreadExistsError'
  readonly code = 'BZZZ_THREAD_EXISTS'
}

/** The address names content that is no thread. */
export class NotAThreadError extends Error {
  override readonly name = 'NotAThreadError'
  readonly code = 'BZZZ_NOT_A_THREAD'
}

/** A blob that should be a message or the head of a thread is none. */
export class InvalidMessageError extends Error {
  override readonly name = 'InvalidMessageError'
  readonly code = 'BZZZ_MESSAGE_INVALID'
}

/** No invitation at all, one that was cut when copied, or one that the inviting node never made. */
export class InvalidInvitationError extends Error {
  override readonly name = 'InvalidInvitationError'
  readonly code = 'BZZZ_INVITATION_INVALID'
}

export class InvitationExpiredError extends Error {
  override readonly name = 'InvitationExpiredError'
  readonly code = 'BZZZ_INVITATION_EXPIRED'
}

/** It was good for one node, and another one came first. */
export class InvitationUsedError extends Error {
  override readonly name = 'InvitationUsedError'
  readonly code = 'BZZZ_INVITATION_USED'
}

/** Another member has the name that a node wants to join under. */
export class NodeNameTakenError extends Error {
  override readonly name = 'NodeNameTakenError'
  readonly code = 'BZZZ_NODE_NAME_TAKEN'
}

/** The node already has peers and cannot join others: clusters are not merged. */
export class AlreadyMemberError extends Error {
  override readonly name = 'AlreadyMemberError'
  readonly code = 'BZZZ_NODE_ALREADY_MEMBER'
}

/** The node was given a network key, and the cluster it is to join has another one. */
export class NetworkKeyConflictError extends Error {
  override readonly name = 'NetworkKeyConflictError'
  readonly code = 'BZZZ_NETWORK_KEY_CONFLICT'
}

export class FunctionNotFoundError extends Error {
  override readonly name = 'FunctionNotFoundError'
  readonly code = 'BZZZ_FUNCTION_NOT_FOUND'
}

/** What a deployment asks for cannot be run here; nothing was changed. */
export class DeploymentInvalidError extends Error {
  override readonly name = 'DeploymentInvalidError'
  readonly code = 'BZZZ_DEPLOYMENT_INVALID'
}

/** No replica of the function runs. */
export class FunctionUnavailableError extends Error {
  override readonly name = 'FunctionUnavailableError'
  readonly code = 'BZZZ_FUNCTION_UNAVAILABLE'
}

/** The function could not be reached, or its answer ended before it began. */
export class FunctionUnreachableError extends Error {
  override readonly name = 'FunctionUnreachableError'
  readonly code = 'BZZZ_FUNCTION_UNREACHABLE'
}

export class SecretExistsError extends Error {
  override readonly name = 'SecretExistsError'
  readonly code = 'BZZZ_SECRET_EXISTS'
}

export class SecretNotFoundError extends Error {
  override readonly name = 'SecretNotFoundError'
  readonly code = 'BZZZ_SECRET_NOT_FOUND'
}

/** Nobody said where models are. */
export class UpstreamMissingError extends Error {
  override readonly name = 'UpstreamMissingError'
  readonly code = 'BZZZ_UPSTREAM_MISSING'
}

/** No upstream of the configuration serves a model of that name. */
export class ModelNotFoundError extends Error {
  override readonly name = 'ModelNotFoundError'
  readonly code = 'BZZZ_MODEL_NOT_FOUND'
}

/** Whoever serves the model did not take the connection, or ended it before the first byte. */
export class UpstreamUnreachableError extends Error {
  override readonly name = 'UpstreamUnreachableError'
  readonly code = 'BZZZ_UPSTREAM_UNREACHABLE'
}

export class UpstreamTimeoutError extends Error {
  override readonly name = 'UpstreamTimeoutError'
  readonly code = 'BZZZ_UPSTREAM_TIMEOUT'
}

/** The upstream does not take the key it was configured with; the caller's token is good. */
export class UpstreamRefusedError extends Error {
  override readonly name = 'UpstreamRefusedError'
  readonly code = 'BZZZ_UPSTREAM_REFUSED'
}

/** The answer of a model ended before its end. */
export class UpstreamBrokenError extends Error {
  override readonly name = 'UpstreamBrokenError'
  readonly code = 'BZZZ_UPSTREAM_BROKEN'
}

/** The API knows the request, and what runs here cannot do it. */
export class NotSupportedError extends Error {
  override readonly name = 'NotSupportedError'
  readonly code = 'BZZZ_NOT_SUPPORTED'
}

/** Whoever asked is gone: the work for it ends, and nobody is answered. */
export class CallerLeftError extends Error {
  override readonly name = 'CallerLeftError'
  readonly code = 'BZZZ_CALLER_LEFT'
}

export class FunctionTimeoutError extends Error {
  override readonly name = 'FunctionTimeoutError'
  readonly code = 'BZZZ_FUNCTION_TIMEOUT'
}

/** The process drains: what is not done in time is cut, so that the caller asks another one. */
export class ShuttingDownError extends Error {
  override readonly name = 'ShuttingDownError'
  readonly code = 'BZZZ_SHUTTING_DOWN'
}

/** All problems of a configuration in one message, one line each. */
export class InvalidConfigError extends Error {
  override readonly name = 'InvalidConfigError'
  readonly code = 'BZZZ_CONFIG_INVALID'
}

export class PortInUseError extends Error {
  override readonly name = 'PortInUseError'
  readonly code = 'BZZZ_PORT_IN_USE'
}

export class DataFolderForeignError extends Error {
  override readonly name = 'DataFolderForeignError'
  readonly code = 'BZZZ_DATA_FOLDER_FOREIGN'
}

export class DataFolderNewerError extends Error {
  override readonly name = 'DataFolderNewerError'
  readonly code = 'BZZZ_DATA_FOLDER_NEWER'
}

export class DataFolderUnwritableError extends Error {
  override readonly name = 'DataFolderUnwritableError'
  readonly code = 'BZZZ_DATA_FOLDER_UNWRITABLE'
}

/** Something the marker promises is gone. Starting would put an empty store over a used one. */
export class DataFolderIncompleteError extends Error {
  override readonly name = 'DataFolderIncompleteError'
  readonly code = 'BZZZ_DATA_FOLDER_INCOMPLETE'
}

export class DataFolderLockedError extends Error {
  override readonly name = 'DataFolderLockedError'
  readonly code = 'BZZZ_DATA_FOLDER_LOCKED'
}

/** A part that `bzzz up` started did not come up; the message carries its last words. */
export class ProcessStartError extends Error {
  override readonly name = 'ProcessStartError'
  readonly code = 'BZZZ_PROCESS_START'
}

/** A log of v1 with more chains than one file can have. */
export class LogTooManyChainsError extends Error {
  override readonly name = 'LogTooManyChainsError'
  readonly code = 'BZZZ_V1_TOO_MANY_CHAINS'
}

/** A path that was given names no log of v1. */
export class LogNotFoundError extends Error {
  override readonly name = 'LogNotFoundError'
  readonly code = 'BZZZ_V1_LOG_NOT_FOUND'
}

/** What was given for a part of a log of v1 is none, or does not hold. */
export class InvalidChunkError extends Error {
  override readonly name = 'InvalidChunkError'
  readonly code = 'BZZZ_V1_CHUNK_INVALID'
}

/** There is no such import, or nothing of that name was imported. */
export class ImportNotFoundError extends Error {
  override readonly name = 'ImportNotFoundError'
  readonly code = 'BZZZ_V1_IMPORT_NOT_FOUND'
}

/** An import cannot do this in the state it is in. */
export class ImportStateError extends Error {
  override readonly name = 'ImportStateError'
  readonly code = 'BZZZ_V1_IMPORT_STATE'
}

/** The optional packages that read hypercores are not installed. */
export class HypercoreMissingError extends Error {
  override readonly name = 'HypercoreMissingError'
  readonly code = 'BZZZ_V1_HYPERCORE_MISSING'
}

/** A log of v1 does not hold what was asked of it; the output says where. */
export class LogBrokenError extends Error {
  override readonly name = 'LogBrokenError'
  readonly code = 'BZZZ_V1_LOG_BROKEN'
}

/**
 * An error another process answered over HTTP. It keeps the code it was given, so that a fault
 * deep in a chain of calls reaches the caller under its own name.
 */
export class RemoteError extends Error {
  override readonly name = 'RemoteError'
  readonly code: string
  readonly status: number
  readonly details: Record<string, unknown>
  constructor(code: string, status: number, message: string, details: Record<string, unknown>) {
    super(message)
    this.code = code
    this.status = status
    this.details = details
  }
}
