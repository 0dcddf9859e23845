import { InvalidRequestError } from '../../../shared/errors.ts'
import { TOOLSETS, type Toolset } from '../tools/tool.ts'

/** What of the table a client asked for. It only ever narrows what its token allows. */
export interface Selection {
  toolsets: readonly Toolset[]
  readOnly: boolean
}

/** Of the request: `?toolsets=default,jobs&readonly=true`, or headers of the same meaning. */
interface Source {
  query: Readonly<Record<string, unknown>>
  headers: Readonly<Record<string, unknown>>
}

const ALL = 'all'

/** @throws InvalidRequestError naming what there is */
export function readSelection({ query, headers }: Source): Selection {
  const readOnly = [query['readonly'], headers['x-mcp-readonly']].some(
    (value) => value !== undefined && value !== 'false' && value !== '0',
  )
  const given = query['toolsets'] ?? headers['x-mcp-toolsets']
  const names = [given]
    .flat()
    .flatMap((one) => (typeof one === 'string' ? one.split(',') : []))
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0) return { toolsets: ['default'], readOnly }
  if (names.includes(ALL)) return { toolsets: TOOLSETS, readOnly }
  const unknown = names.filter((name) => !(TOOLSETS as readonly string[]).includes(name))
  if (unknown.length > 0) {
    throw new InvalidRequestError(`Toolsets are ${TOOLSETS.join(', ')}, or ${ALL}.`)
  }
  return { toolsets: TOOLSETS.filter((name) => names.includes(name)), readOnly }
}
