import { InvalidAddressError } from '../errors.ts'
import { ADDRESS_LABEL_CHARS_MAX } from '../limits.ts'

export type LabelName = 'agent' | 'role' | 'project' | 'task'

/** The labels of a semantic address: `<agent>[:<role>]@<project>[:<task>]`. */
export interface Labels {
  agent: string
  role?: string
  project: string
  task?: string
}

export type LabelCheck = (name: LabelName, text: string) => string

// Only ASCII is matched before the case is folded: toLowerCase turns U+212A (Kelvin) into `k`.
const LABEL_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** @throws InvalidAddressError. Upper case is folded; percent-encoding is not part of a label. */
export function checkLabel(name: LabelName, text: string): string {
  if (typeof text !== 'string' || text === '') {
    throw new InvalidAddressError(`The ${name} is empty.`)
  }
  if (text.length > ADDRESS_LABEL_CHARS_MAX) {
    throw new InvalidAddressError(
      `The ${name} is longer than ${ADDRESS_LABEL_CHARS_MAX} characters.`,
    )
  }
  if (text === '*') {
    throw new InvalidAddressError(`The ${name} is *, which is allowed in searches only.`)
  }
  if (!LABEL_PATTERN.test(text)) {
    throw new InvalidAddressError(
      `The ${name} is not made of a-z 0-9 - _ . starting with a letter or digit.`,
    )
  }
  return text.toLowerCase()
}

/** As `checkLabel`, and `*` stands for any label: the form searches use. */
export function checkLabelPattern(name: LabelName, text: string): string {
  return text === '*' ? text : checkLabel(name, text)
}

export function parseLabels(authority: string, check: LabelCheck): Labels {
  const at = authority.indexOf('@')
  if (at === -1) {
    throw new InvalidAddressError('An address starts with <agent>@<project>/ or with b3/<hash>.')
  }
  if (authority.includes('@', at + 1)) {
    throw new InvalidAddressError('An address has one @ before its path.')
  }
  const [agent, role] = splitPair(authority.slice(0, at), 'role')
  const [project, task] = splitPair(authority.slice(at + 1), 'task')
  const labels = {
    agent,
    ...(role !== undefined && { role }),
    project,
    ...(task !== undefined && { task }),
  }
  return checkLabels(labels, check)
}

export function checkLabels(labels: Labels, check: LabelCheck): Labels {
  const { agent, role, project, task } = labels
  return {
    agent: check('agent', agent),
    ...(role !== undefined && { role: check('role', role) }),
    project: check('project', project),
    ...(task !== undefined && { task: check('task', task) }),
  }
}

export function formatLabels({ agent, role, project, task }: Labels): string {
  const left = role === undefined ? agent : `${agent}:${role}`
  const right = task === undefined ? project : `${project}:${task}`
  return `${left}@${right}`
}

function splitPair(text: string, second: 'role' | 'task'): [string, string | undefined] {
  const colon = text.indexOf(':')
  if (colon === -1) return [text, undefined]
  if (text.includes(':', colon + 1)) {
    throw new InvalidAddressError(`The ${second} holds a second colon.`)
  }
  return [text.slice(0, colon), text.slice(colon + 1)]
}
