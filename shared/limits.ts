/**
 * Bounds that more than one part must agree on. A bound that concerns one subsystem lives in that
 * subsystem's `constants.ts`. Every line says why the number is what it is.
 */

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

/** Largest body of a PUT unless configured: a model checkpoint fits, a runaway pipe does not. */
export const PUT_BYTES_MAX = 5 * GiB

/** JSON bodies are commands, never content: content travels as a stream. */
export const JSON_BODY_BYTES_MAX = 1 * MiB

/** Longest path of a semantic address in bytes; a record with it still fits one DHT message. */
export const ADDRESS_PATH_BYTES_MAX = 1024

/** Deepest path of a semantic address. */
export const ADDRESS_PATH_SEGMENTS_MAX = 32

/** A label of an address is a DNS-like label. */
export const ADDRESS_LABEL_CHARS_MAX = 63

/** Longest address text looked at; longer input is refused before it is parsed. */
export const ADDRESS_CHARS_MAX = 4096

/** Pages of lists and histories. */
export const PAGE_SIZE_DEFAULT = 50
export const PAGE_SIZE_MAX = 500

/** A media type that is longer is not one. */
export const MEDIA_TYPE_CHARS_MAX = 255

/** Copies kept of every blob (DESIGN: primary, secondary, tertiary). */
export const REPLICAS = 3
