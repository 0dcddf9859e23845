export const EXIT_OK = 0
export const EXIT_FAILED = 1
export const EXIT_USAGE = 2
/** As a shell reports a program that SIGINT ended. */
export const EXIT_INTERRUPTED = 130

/** `bzzz: <sentence> (BZZZ_CODE)`; lines after the first of a message follow as they are. */
export function failureText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const [sentence = '', ...details] = message.split('\n')
  return [`bzzz: ${sentence} (${codeOf(error)})`, ...details].join('\n') + '\n'
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return code.startsWith('BZZZ_') ? code : 'BZZZ_INTERNAL'
}
