/**
 * Completes the lockfiles with the platform packages that the registry in use did not offer.
 *
 * A native dependency names one optional package per platform. npm leaves out of the lockfile those
 * it could not look up while writing it (a mirror may carry two platforms of fifteen), and `npm ci`
 * then refuses the lockfile because those entries are missing. The entries written here repeat what
 * the parent package pins: name, exact version, platform. On another platform they are never
 * fetched; on that platform npm fetches them by version. Run it after every `npm install`.
 */
import { readFileSync, writeFileSync } from 'node:fs'

export interface LockEntry {
  version?: string
  integrity?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}

export interface Lock {
  packages: Record<string, LockEntry>
}

const OPERATING_SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32']
const PROCESSORS = ['arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'x64']
const EXACT_VERSION = /^\d+\.\d+\.\d+(-[\w.]+)?$/

/** Where Node would find `name` from the package at `location`, or undefined. */
function lookUp(lock: Lock, location: string, name: string): string | undefined {
  let folder = location
  for (;;) {
    const candidate = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`
    if (lock.packages[candidate] !== undefined) return candidate
    if (folder === '') return undefined
    folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))
  }
}

/** Optional packages that an entry of the lockfile pins and that have no entry of their own. */
export function missingPlatforms(lock: Lock): Map<string, LockEntry> {
  const missing = new Map<string, LockEntry>()
  for (const [location, parent] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      if (!EXACT_VERSION.test(version) || lookUp(lock, location, name) !== undefined) continue
      const parts = name.split(/[/-]/)
      const os = OPERATING_SYSTEMS.filter((one) => parts.includes(one))
      const cpu = PROCESSORS.filter((one) => parts.includes(one))
      if (os.length !== 1 || cpu.length !== 1) {
        throw new Error(`${name} does not name its platform: add it with npm install.`)
      }
      const entry: LockEntry = { version, cpu, optional: true, os }
      if (parent.dev === true) entry.dev = true
      if (parts.includes('gnu')) entry.libc = ['glibc']
      if (parts.includes('musl')) entry.libc = ['musl']
      missing.set(`node_modules/${name}`, entry)
    }
  }
  return missing
}

/** The lockfile with the missing entries in npm's own order, so that npm leaves them in place. */
export function completeLock(lock: Lock): Lock {
  const entries = [...Object.entries(lock.packages), ...missingPlatforms(lock)]
  entries.sort(([left], [right]) => left.localeCompare(right, 'en'))
  return { ...lock, packages: Object.fromEntries(entries) }
}

/** The project itself, and the image of a function, which npm installs by a lockfile of its own. */
export const LOCKS = ['package-lock.json', 'template/node24-ts/package-lock.json']

if (import.meta.main) {
  for (const name of LOCKS) {
    const file = new URL(`../${name}`, import.meta.url)
    const lock = JSON.parse(readFileSync(file, 'utf8')) as Lock
    const added = missingPlatforms(lock).size
    if (added > 0) writeFileSync(file, `${JSON.stringify(completeLock(lock), null, 2)}\n`)
    console.log(`${name}: ${added} platform packages added`)
  }
}
