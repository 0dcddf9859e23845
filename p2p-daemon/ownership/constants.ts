import { KiB } from '../../shared/limits.ts'

/** The address of the policy: a record like others, which every storage node keeps. */
export const OWNERSHIP_NAME = 'bzzz://policy@cluster/ownership'

/** Rules of one policy: a hundred projects with a few agents each. */
export const RULES_MAX = 500

/** Nodes in one rule; clusters have at most thirty. */
export const AUTHORS_MAX = 64

/** A policy with all rules and authors at their limits would be larger; nobody writes that one. */
export const POLICY_BYTES_MAX = 256 * KiB

/** Versions kept to judge old records by; what is older is judged by the oldest kept. */
export const VERSIONS_KEPT_MAX = 64

/** How often a node looks for a newer policy when nothing told it of one. */
export const REFRESH_INTERVAL_MS = 15_000
