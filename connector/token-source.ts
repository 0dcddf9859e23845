import { readFile } from 'node:fs/promises'

/**
 * The connector's own token, read again from its file: it is renewed there, and when the keys are
 * rotated the one of before ends.
 */
export class TokenSource {
  readonly #file: string | undefined
  #token: string

  constructor(init: { token: string; file: string | undefined }) {
    this.#token = init.token
    this.#file = init.file
  }

  get token(): string {
    return this.#token
  }

  /** A file that cannot be read now leaves the token as it was. */
  async refresh(): Promise<void> {
    if (this.#file === undefined) return
    const text = await readFile(this.#file, 'utf8').catch(() => '')
    this.#token = text.trim() || this.#token
  }
}
