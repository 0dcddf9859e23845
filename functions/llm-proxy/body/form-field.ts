/** Parts of a form that are looked at; a call of OpenAI has a dozen. */
const PARTS_MAX = 256

/** The head of a part: its name, its file name, its type. */
const PART_HEAD_BYTES_MAX = 4096

const HEAD_END = Buffer.from('\r\n\r\n')

/** Where the value of a field stands in a form, or null. */
export function findFormField(
  bytes: Buffer,
  contentType: string,
  name: string,
): { start: number; end: number } | null {
  const match = /;\s*boundary=(?:"([^"]{1,70})"|([^;\s]{1,70}))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) return null
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  // The first one stands at the begin, without a line before it.
  let at = bytes.indexOf(delimiter.subarray(2))
  for (let part = 0; part < PARTS_MAX && at !== -1; part += 1) {
    const headEnd = bytes.indexOf(HEAD_END, at)
    if (headEnd === -1) return null
    const head = bytes.subarray(at, Math.min(headEnd, at + PART_HEAD_BYTES_MAX)).toString('latin1')
    const start = headEnd + HEAD_END.length
    const end = bytes.indexOf(delimiter, headEnd + 2)
    if (end === -1) return null
    const [, found] =
      /^content-disposition:[^\r]*;\s*name="?([^";\r]*)"?\s*(?:;|$)/im.exec(head) ?? []
    const isFile = /;\s*filename\*?=/i.test(head)
    if (found?.trim() === name && !isFile && end >= start) return { start, end }
    at = end + 2
  }
  return null
}
