/**
 * Longest fragment in bytes. With it the longest canonical address (four full labels, a path of
 * 1,024 bytes that all need encoding, `?at=`, the fragment encoded) is 4,084 characters, so every
 * canonical text stays below ADDRESS_CHARS_MAX and can be parsed again.
 */
export const FRAGMENT_BYTES_MAX = 240
