/** Rows in columns as wide as their widest cell, two spaces apart, for people. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head.map((title) => title.toUpperCase()), ...rows]
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => lengthOf(line[column] ?? ''))),
  )
  return lines
    .map((line) => {
      const cells = line.map((cell, column) => cell + ' '.repeat(widths[column]! - lengthOf(cell)))
      return `${cells.join('  ').trimEnd()}\n`
    })
    .join('')
}

/** `name  value` pairs, one to a line. */
export function formatPairs(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => lengthOf(name)))
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

const graphemes = new Intl.Segmenter()

/** Characters as a person counts them. */
function lengthOf(text: string): number {
  return [...graphemes.segment(text)].length
}
