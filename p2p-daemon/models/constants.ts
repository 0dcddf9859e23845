import { KiB, MiB } from '../../shared/limits.ts'

/** One call of a shared model on a stream of its own. */
export const MODEL_PROTOCOL = '/bzzz/models/1.0.0'

/** Under this project and role nodes announce what they share. */
export const MODEL_PROJECT = 'mesh'
export const MODEL_ROLE = 'model-host'

/** What may be on the way and unread in each direction: enough for the line, little for memory. */
export const WINDOW_BYTES = 512 * KiB

/** One piece of a body; a token of a stream is far smaller and goes at once. */
export const PIECE_BYTES_MAX = 64 * KiB

/** Heads are a path, a model and a few headers. */
export const HEAD_BYTES_MAX = 16 * KiB

/** The body is held while it is checked that it asks for the shared model and no other. */
export const REQUEST_BYTES_MAX = 64 * MiB

/** All such bodies together; more calls are told to come back. */
export const REQUESTS_BYTES_MAX = 256 * MiB

/** A machine of the team answers a handful at once; the others are told to try the next node. */
export const CALLS_SERVED_MAX = 64

/** Of these from one peer. */
export const CALLS_PER_PEER_MAX = 32

/** A peer that was told of a call begins with it within this time; its answer may take longer. */
export const OPEN_TIMEOUT_MS = 5_000

/** Time for a body to arrive whole. */
export const REQUEST_TIMEOUT_MS = 60_000

/** To the head of an answer of the own server, and between two pieces of it. */
export const FIRST_BYTE_TIMEOUT_MS = 600_000
export const IDLE_TIMEOUT_MS = 300_000

/** A server on the own machine takes a connection at once or not at all. */
export const CONNECT_TIMEOUT_MS = 5_000

/** What is shared is announced this often, with how busy the node is. */
export const RENEW_INTERVAL_MS = 10_000

/** Three renewals may fail before the models of a node are no more. */
export const LEASE_MS = 3 * RENEW_INTERVAL_MS

/** Nodes that are asked for one call before its caller is told that none answers. */
export const NODES_TRIED_MAX = 4
