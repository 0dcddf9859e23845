import { InvalidArgumentError } from 'commander'

const NODE_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/

/** For commander: a name as the daemon takes it. */
export function nodeName(text: string): string {
  if (NODE_NAME.test(text)) return text
  throw new InvalidArgumentError('Use a name such as ironwood: a-z, 0-9 and -, at most 63.')
}
