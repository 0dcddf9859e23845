import type { CallToolResult, ResourceLink } from '@modelcontextprotocol/server'

import { InvalidRequestError } from '../../../shared/errors.ts'
import { RESULT_CHARS_MAX } from '../constants.ts'

/** What a tool found, and where more of it is to be read. */
export interface Answer<Result> {
  result: Result
  links?: readonly ResourceLink[]
}

/**
 * The same JSON twice: structured, and as text for clients that read only that. What it holds of
 * the mesh is inside the JSON, under the name of its field, and never a sentence of ours.
 * @throws InvalidRequestError when it is larger than a model can take in
 */
export function toolResult(result: object, links: readonly ResourceLink[] = []): CallToolResult {
  const text = JSON.stringify(result)
  if (text.length > RESULT_CHARS_MAX) {
    throw new InvalidRequestError(
      `The result has ${text.length} characters of ${RESULT_CHARS_MAX} that fit. Ask for less: a smaller limit, a narrower pattern.`,
    )
  }
  return {
    content: [{ type: 'text', text }, ...links],
    structuredContent: result as Record<string, unknown>,
  }
}

/** The beginning of a text, as much of it as takes so many characters of a result. */
export function cutText(text: string, charsMax: number): string {
  let cut = text
  // Text in which much has to be escaped takes more of a result than it has characters.
  while (JSON.stringify(cut).length > charsMax) {
    // Never within a character: what is cut is read next.
    cut = cut.slice(0, Math.floor(cut.length / 2)).replace(/[\ud800-\udbff]$/, '')
  }
  return cut
}

/** As many items as fit into a result, from the first. A page is cut rather than refused. */
export function fitting<Item>(items: readonly Item[]): readonly Item[] {
  // Half, as what stands around the items and between them has its size too.
  let left = RESULT_CHARS_MAX / 2
  const end = items.findIndex((item) => {
    left -= JSON.stringify(item).length
    return left < 0
  })
  return end === -1 ? items : items.slice(0, Math.max(1, end))
}
