import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { InvalidConfigError } from '../../shared/errors.ts'
import { PEER_ID } from '../../shared/v1/chunk.ts'

const hostsSchema = z.record(z.string(), z.string())

/** v1 shows the last six characters of a peer id only. */
const SHORT = /^(?:<peer\.ID 12\*)?([1-9A-HJ-NP-Za-km-z]{6})>?$/

/**
 * The file that says which host an author was: `{"12D3KooW...": "walnut"}`, or with the short form
 * that v1 prints. v1 had another identity after each start, so a host has several authors, and
 * nothing in a log tells which.
 * @throws InvalidConfigError
 */
export async function readHosts(
  path: string | undefined,
): Promise<(author: string) => string | null> {
  if (path === undefined) return () => null
  const hosts = new Map<string, string>()
  try {
    const given = hostsSchema.parse(JSON.parse(await readFile(path, 'utf8')))
    for (const [author, host] of Object.entries(given)) {
      const name = SHORT.exec(author)?.[1] ?? author
      if (!PEER_ID.test(name)) throw new Error(`${author} is no peer id`)
      hosts.set(name, checkLabel('agent', host))
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new InvalidConfigError(`${path} does not map authors to hosts: ${reason}`, { cause })
  }
  return (author) => hosts.get(author) ?? hosts.get(author.slice(-6)) ?? null
}
