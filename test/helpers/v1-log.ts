import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { finished } from 'node:stream/promises'

/** What a generated log holds. */
export interface V1LogInit {
  entries: number
  author?: string
  /** Of issue numbers; each is claimed before anything else is said of it. */
  issues?: number
}

export const V1_AUTHOR = '12D3KooWEfDMAozSQBFdikKFUyUMP2ZKdrythQJkyMz4YoBjzW5m'

/** Entries of this many issues are interleaved, as the tasks of one node are. */
const ISSUES_DEFAULT = 40

const REPOSITORIES = ['deepblackcloud/hive', 'anthonyrawlins/bzzz']

/** Lines of a whole chain of v1, written independently of the code under test. */
export function* v1Log(init: V1LogInit): Generator<string> {
  const { entries, author = V1_AUTHOR, issues = ISSUES_DEFAULT } = init
  const startMs = Date.UTC(2025, 9, 4, 9, 47, 42)
  const claimed = new Set<number>()
  let prevHash = ''
  for (let index = 0; index < entries; index += 1) {
    const time = new Date(startMs + index * 137).toISOString().replace(/Z$/, '032909Z')
    const issue = 1 + ((index * 7) % issues)
    const first = !claimed.has(issue)
    claimed.add(issue)
    const [type, data] = first
      ? [
          'task_claimed',
          { repository: REPOSITORIES[issue % 2], task_id: issue, title: `t ${issue}` },
        ]
      : [
          'task_progress',
          {
            command: `go test ./... && git diff > ${index}.patch`,
            iteration: index % 10,
            task_id: issue,
          },
        ]
    const line = sealV1({ index, timestamp: time, author, type: String(type), data, prevHash })
    yield line.text
    prevHash = line.hash
  }
}

/** One entry as v1 seals it, from the values or from the text of its data. */
export function sealV1(entry: {
  index: number
  timestamp: string
  author: string
  type: string
  data: object | string
  prevHash: string
}): { text: string; hash: string } {
  const { index, timestamp, author, type, data, prevHash } = entry
  const dataText = typeof data === 'string' ? data : goText(data)
  const head =
    `{"index":${index},"timestamp":"${timestamp}","author":${goText(author)},` +
    `"type":${goText(type)},"data":${dataText}`
  const tail = (hash: string, signature: string) =>
    `,"hash":"${hash}","prev_hash":"${prevHash}","signature":"${signature}"}`
  const hash = sha256(head + tail('', ''))
  return { text: head + tail(hash, sha256(`${author}:${hash}:${index}`).slice(0, 16)), hash }
}

/** Writes such a log as NDJSON, whatever its length. */
export async function writeV1Log(path: string, init: V1LogInit): Promise<void> {
  const file = createWriteStream(path)
  let block = ''
  for (const line of v1Log(init)) {
    block += `${line}\n`
    if (block.length < 1 << 20) continue
    if (!file.write(block)) await once(file, 'drain')
    block = ''
  }
  file.end(block)
  await finished(file)
}

/** As encoding/json of Go writes strings. */
function goText(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
