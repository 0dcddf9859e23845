import { formatAddress } from '../address/address.ts'
import { hashBytes } from '../blob/hash.ts'
import { ADDRESS_LABEL_CHARS_MAX } from '../limits.ts'
import type { Derived } from './derivation.ts'

/** A thread that entries of v1 become. */
export interface Conversation {
  /** Names it among all that were imported. */
  key: string
  /** Labels and path of its address. */
  project: string
  task: string | null
  path: string
  title: string
  /** As v1 called it; null where v1 had no name for it. */
  topic: string | null
}

/** The agent of all that was imported: several of v1 wrote each conversation. */
const AGENT = 'v1'

/** What GitHub allows. Anything else came from somewhere else, and is taken for a mere name. */
const REPOSITORY = /^[a-z0-9][a-z0-9-]{0,38}\/(?!\.{1,2}$)[a-z0-9._-]{1,100}$/
const PLAIN_SEGMENT = /^[\w-][\w.-]{0,199}$/

/** The conversation of an entry; the chain itself where it speaks of none. */
export function conversationOf(
  derived: Pick<Derived, 'topic' | 'repository'>,
  chain: { author: string; genesisHash: string },
): Conversation {
  const { topic, repository } = derived
  if (topic === null) {
    const { author, genesisHash } = chain
    return {
      key: `chain ${author} ${genesisHash}`,
      project: 'v1-logs',
      task: null,
      path: `chain/${author}/${genesisHash}`,
      title: `What ${author} said of no task`,
      topic: null,
    }
  }
  if (topic.kind === 'session') {
    const name = plainSegment(topic.session)
    return {
      key: `session ${name}`,
      project: 'v1-sessions',
      task: null,
      path: `session/${name}`,
      title: `Session ${name}`,
      topic: null,
    }
  }
  const project = projectOf(repository)
  return {
    key: `issue ${project} ${topic.issue}`,
    project,
    task: topic.issue,
    path: 'thread',
    title: `${repository !== null && isRepository(repository) ? repository : project}#${topic.issue}`,
    topic: `bzzz/meta/issue/${topic.issue}`,
  }
}

/** The address of it; a later one after it was taken back. */
export function addressOf(
  { project, task, path }: Pick<Conversation, 'project' | 'task' | 'path'>,
  generation: number,
): string {
  return formatAddress({
    kind: 'semantic',
    agent: AGENT,
    project,
    ...(task !== null && { task }),
    path: generation === 1 ? path : `${path}-${generation}`,
  })
}

/**
 * `owner/name` as a label. An owner has no dot, so no two repositories share one; what is no
 * repository gets a label without a dot, so it is never taken for one.
 */
export function projectOf(repository: string | null): string {
  if (repository === null) return 'v1-unknown'
  const label = repository.toLowerCase().replace('/', '.')
  if (isRepository(repository) && label.length <= ADDRESS_LABEL_CHARS_MAX) return label
  return `v1-repository-${shortHash(repository)}`
}

function isRepository(text: string): boolean {
  return REPOSITORY.test(text.toLowerCase())
}

/** A text as one segment of a path, whatever it holds. */
function plainSegment(text: string): string {
  return PLAIN_SEGMENT.test(text) ? text : `text-${shortHash(text)}`
}

function shortHash(text: string): string {
  return hashBytes(Buffer.from(text)).slice(0, 24)
}
