import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { sleep } from './rounds.ts'

const run = promisify(execFile)

/**
 * A killed process lets go of its files a moment after it is gone; another mount namespace, which
 * whoever enters a network namespace has, lets go of its copy of the mount when it ends.
 */
const UNMOUNT_TRIES_MAX = 600
const UNMOUNT_PAUSE_MS = 100

/** FS_IOC_SHUTDOWN and its flag NOLOGFLUSH of linux/fs.h: not even the journal is written out. */
const CUT = `
  use Fcntl;
  sysopen(my $folder, $ARGV[0], O_RDONLY) or die "open: $!";
  my $flags = pack("L", 2);
  defined(ioctl($folder, 0x8004587d, $flags)) or die "ioctl: $!";
`

/** Why this machine cannot mount what the tests need, as a sentence; null when it can. */
export async function whyNoMounts(): Promise<string | null> {
  if (process.platform !== 'linux') return 'Only Linux has tmpfs and loop devices.'
  if (process.getuid?.() !== 0) return 'Mounting needs root.'
  if (!existsSync('/dev/loop-control')) return 'The kernel offers no loop devices.'
  for (const tool of ['mount', 'umount', 'losetup', 'mkfs.ext4', 'perl']) {
    const found = await run('which', [tool]).then(
      () => true,
      () => false,
    )
    if (!found) return `${tool} is not installed.`
  }
  const probe = await mkdtemp(join(tmpdir(), 'bzzz-mount-'))
  try {
    await using _ = await TmpfsMount.create(join(probe, 'mount'), 1)
    return null
  } catch {
    return 'This machine does not let root mount a tmpfs.'
  } finally {
    await rm(probe, { recursive: true })
  }
}

async function unmount(path: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await run('umount', [path])
      return
    } catch (error) {
      if (tries === UNMOUNT_TRIES_MAX) throw error
      await sleep(UNMOUNT_PAUSE_MS)
    }
  }
}

/** A file system in memory that is full after so many bytes. */
export class TmpfsMount {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async create(path: string, sizeMiB: number): Promise<TmpfsMount> {
    await mkdir(path)
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', path])
    return new TmpfsMount(path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await unmount(this.path)
  }
}

/** An ext4 in a file, whose power can be cut. Its loop device goes when it is unmounted. */
export class LoopDisk {
  readonly path: string
  readonly #image: string
  #mounted = false

  private constructor(image: string, path: string) {
    this.#image = image
    this.path = path
  }

  /** The file has holes: it takes as much room as is written to the disk. */
  static async create(folder: string, sizeMiB: number): Promise<LoopDisk> {
    const disk = new LoopDisk(join(folder, 'disk.img'), join(folder, 'disk'))
    await mkdir(disk.path)
    await writeFile(disk.#image, '')
    await truncate(disk.#image, sizeMiB * 1024 * 1024)
    await run('mkfs.ext4', ['-q', '-F', disk.#image])
    await disk.mount()
    return disk
  }

  async mount(): Promise<void> {
    await run('mount', ['-o', 'loop', this.#image, this.path])
    this.#mounted = true
  }

  /** From here on nothing reaches the disk, as if the machine had lost its power. */
  async cut(): Promise<void> {
    await run('perl', ['-e', CUT, this.path])
  }

  async unmount(): Promise<void> {
    if (!this.#mounted) return
    await unmount(this.path)
    this.#mounted = false
    await this.#released()
  }

  /** Mounted again before that, the file system would be the one that was cut. */
  async #released(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const { stdout } = await run('losetup', ['-j', this.#image])
      if (stdout === '') return
      if (tries === UNMOUNT_TRIES_MAX) throw new Error(`${this.#image} stays in use: ${stdout}`)
      await sleep(UNMOUNT_PAUSE_MS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount()
    await rm(this.#image)
  }
}
