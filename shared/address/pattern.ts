import { InvalidAddressError } from '../errors.ts'
import type { Address } from './address.ts'
import type { Labels } from './labels.ts'
import { checkLabelPattern, parseLabels } from './labels.ts'
import { isContent, splitAddress } from './parts.ts'
import { parsePath } from './path.ts'

/**
 * A search for semantic addresses. A label that is `*` stands for any, for role and task also for
 * none. A role or task that is absent stands for none, so every record name is the pattern of
 * itself alone.
 */
export interface AddressPattern extends Labels {
  /** Decoded. Empty together with `below` means every path. */
  path: string
  /** True: everything under `path` at any depth, not `path` itself. False: `path` alone. */
  below: boolean
}

/** @throws InvalidAddressError */
export function parsePattern(text: string): AddressPattern {
  const parts = splitAddress(text)
  if (isContent(parts)) throw new InvalidAddressError('A search is for semantic addresses only.')
  const { authority, path, query, fragment } = parts
  const labels = parseLabels(authority, checkLabelPattern)
  if (query !== undefined || fragment !== undefined) {
    throw new InvalidAddressError('A search has no ?query and no #fragment.')
  }
  if (path === undefined) {
    throw new InvalidAddressError('The search has no path; end it with / to mean every path.')
  }
  if (path === '' || path === '**') return { ...labels, path: '', below: true }
  const stem = stemOf(path)
  if (stem.includes('*')) {
    throw new InvalidAddressError('A * in the path is a trailing /** or written %2A.')
  }
  return { ...labels, path: parsePath(stem), below: stem !== path }
}

/** Version and fragment of the address do not matter; a content address never matches. */
export function matchesPattern(pattern: AddressPattern, address: Address): boolean {
  if (address.kind !== 'semantic') return false
  return (
    matchesLabel(pattern.agent, address.agent) &&
    matchesLabel(pattern.role, address.role) &&
    matchesLabel(pattern.project, address.project) &&
    matchesLabel(pattern.task, address.task) &&
    matchesPath(pattern, address.path)
  )
}

function stemOf(path: string): string {
  if (path.endsWith('/**')) return path.slice(0, -3)
  return path.endsWith('/') ? path.slice(0, -1) : path
}

function matchesLabel(pattern: string | undefined, label: string | undefined): boolean {
  return pattern === '*' || pattern === label
}

function matchesPath({ path, below }: AddressPattern, candidate: string): boolean {
  if (!below) return candidate === path
  return path === '' || candidate.startsWith(`${path}/`)
}
