import { readFileSync, statSync } from 'node:fs'

import { LOOK_AGAIN_MS } from '../constants.ts'

/**
 * A small file that is read again when it changes: a key, a configuration. It is looked at when it
 * is asked for, at most once in a while, so that nothing runs while there are no calls. Read at
 * once, because a stat a second of a file in memory costs less than a turn of the event loop.
 */
export class RereadFile {
  readonly #paths: readonly string[]
  readonly #bytesMax: number
  #path = ''
  #version = ''
  #text: string | null = null
  #lookedMs = Number.NEGATIVE_INFINITY

  /** The first of `paths` that exists is the file. */
  constructor(paths: readonly string[], init: { bytesMax: number }) {
    this.#paths = paths
    this.#bytesMax = init.bytesMax
    this.refresh()
  }

  get path(): string {
    return this.#path
  }

  /** Null while there is no such file, or one that cannot be what it should. */
  get text(): string | null {
    return this.#text
  }

  /** True when the file is another one now. One that went away keeps what it said. */
  refresh(): boolean {
    const nowMs = performance.now()
    if (nowMs - this.#lookedMs < LOOK_AGAIN_MS) return false
    this.#lookedMs = nowMs
    for (const path of this.#paths) {
      try {
        const { mtimeMs, ino, size } = statSync(path)
        const version = `${path} ${mtimeMs} ${ino} ${size}`
        if (version === this.#version) return false
        if (size > this.#bytesMax) continue
        this.#text = readFileSync(path, 'utf8')
        this.#version = version
        this.#path = path
        return true
      } catch {
        // Not there, or just being replaced: the next look finds it.
      }
    }
    return false
  }
}
