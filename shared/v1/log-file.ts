import { createReadStream } from 'node:fs'

import { READ_BYTES } from './constants.ts'
import { RecordSplitter, type RawRecord } from './record-splitter.ts'

/** Records of an NDJSON or JSON file, as many at a time as one chunk holds. */
export async function* readLogFile(path: string, signal: AbortSignal): AsyncIterable<RawRecord[]> {
  const splitter = new RecordSplitter()
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES, signal })) {
    const records = splitter.push(chunk as Buffer)
    if (records.length > 0) yield records
  }
  const records = splitter.end()
  if (records.length > 0) yield records
}
