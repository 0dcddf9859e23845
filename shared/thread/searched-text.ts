import { SEARCH_CHARS_MAX } from './constants.ts'
import type { ThreadMessage } from './message.ts'

/** The words of a message for the index: the same whenever it is made. */
export function searchedText(
  message: Pick<ThreadMessage, 'content' | 'mediaType'>,
  longContent?: Uint8Array,
): string {
  if (!isText(message)) return ''
  const text = message.content ?? Buffer.from(longContent ?? []).toString()
  // Postgres takes no NUL, and half a pair of surrogates is no character.
  return text.slice(0, SEARCH_CHARS_MAX).replaceAll('\0', ' ').toWellFormed()
}

/** Whether content of this type is something that people search for words in. */
export function isText({ mediaType = 'text/plain' }: Pick<ThreadMessage, 'mediaType'>): boolean {
  return /^(?:text\/|application\/(?:[\w.-]+\+)?json\b)/i.test(mediaType)
}
