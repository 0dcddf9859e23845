import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export interface ProcessEntry {
  pid: number
  parent: number
  state: string
}

/** Every process of this machine, without those that have ended and only wait to be noticed. */
export async function listProcesses(): Promise<ProcessEntry[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,stat='])
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .map(([pid, parent, state]) => ({ pid: Number(pid), parent: Number(parent), state: state! }))
    .filter(({ state }) => !state.startsWith('Z'))
}

/** The process, its children, and theirs. */
export async function processTree(root: number): Promise<number[]> {
  const processes = await listProcesses()
  const tree = [root]
  for (const pid of tree) {
    tree.push(...processes.filter(({ parent }) => parent === pid).map((child) => child.pid))
  }
  return tree
}

/** Those of `pids` that still run. */
export async function stillRunning(pids: readonly number[]): Promise<number[]> {
  const running = new Set((await listProcesses()).map(({ pid }) => pid))
  return pids.filter((pid) => running.has(pid))
}

/** SIGKILL to the process and everything below it. */
export async function killTree(root: number): Promise<void> {
  for (const pid of await processTree(root)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone already, or gone with its parent.
    }
  }
}
