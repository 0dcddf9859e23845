import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

import { ProcessStartError } from '../../../shared/errors.ts'

/** The account that Postgres runs under, because it refuses to run as root. */
export interface SystemUser {
  name: string
  uid: number
  gid: number
}

/** How to run a program as that account: what comes before it, and options of spawn. */
export interface RunAs {
  prefix: readonly string[]
  options: { uid?: number; gid?: number }
}

const run = promisify(execFile)

/** The distribution's own account for Postgres, else the one every Unix has. None is created. */
const CANDIDATES = ['postgres', 'nobody'] as const

/** Capabilities by which a process enters folders it has no right to, the narrower one first. */
const ENTER_CAPABILITIES = [
  { name: 'dac_read_search', bit: 2n },
  { name: 'dac_override', bit: 1n },
] as const

/** Null when this process is not root: then Postgres simply runs as the same user. */
export async function findSystemUser(): Promise<SystemUser | null> {
  if (process.getuid?.() !== 0) return null
  for (const name of CANDIDATES) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
      return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) }
    } catch {
      // No such account here; the next one.
    }
  }
  throw new ProcessStartError(
    'PostgreSQL refuses to run as root and there is no account postgres or nobody: start bzzz as another user, or name a server in DATABASE_URL.',
  )
}

/**
 * Root's own folders (a home, `mktemp -d`) are closed to other accounts, so Postgres could reach
 * neither its program nor its data there. Then it is given the single capability to enter folders,
 * and none besides; everywhere else it gets nothing but its account.
 */
export async function runAs(user: SystemUser | null, paths: readonly string[]): Promise<RunAs> {
  if (!user) return { prefix: [], options: {} }
  const options = { uid: user.uid, gid: user.gid }
  if (await canEnter(paths, options)) return { prefix: [], options }
  const capability = await enterCapability()
  const prefix = [
    'setpriv',
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    '--clear-groups',
    // Without this bit access(2), by which Postgres checks its own program, ignores capabilities.
    '--securebits=+no_setuid_fixup',
    ...['--inh-caps', '--ambient-caps', '--bounding-set'].map(
      (set) => `${set}=-all,+${capability}`,
    ),
    '--no-new-privs',
  ]
  if (capability && (await canEnter(paths, {}, prefix))) return { prefix, options: {} }
  throw new ProcessStartError(
    `PostgreSQL runs as ${user.name}, because it refuses to run as root, and ${user.name} cannot enter ${paths.join(' or ')}: put them below a folder that all may enter, start bzzz as another user, or name a server in DATABASE_URL.`,
  )
}

async function canEnter(
  paths: readonly string[],
  options: RunAs['options'],
  prefix: readonly string[] = [],
): Promise<boolean> {
  const script = 'for path; do test -x "$path" || exit 1; done'
  const [command, ...args] = [...prefix, 'sh', '-c', script, 'sh', ...paths]
  try {
    await run(command!, args, { ...options, cwd: '/' })
    return true
  } catch {
    return false
  }
}

/** Which of the capabilities this process holds; a container often has only the wider one. */
async function enterCapability(): Promise<string | null> {
  try {
    const status = await readFile('/proc/self/status', 'utf8')
    const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
    return ENTER_CAPABILITIES.find(({ bit }) => (held >> bit) & 1n)?.name ?? null
  } catch {
    return null
  }
}
