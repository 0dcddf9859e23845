/** The sending process of one contender: `node server.ts <name>`. */
import { CONTENDERS, type ContenderName } from './contenders.ts'
import { createPayload, type Work } from './payload.ts'

export interface Offer {
  address: unknown
  work: { big: Work; small: Work }
}

const payload = createPayload()
const address = await CONTENDERS[process.argv[2] as ContenderName].serve(payload)
const offer: Offer = { address, work: { big: payload.big, small: payload.small } }
process.send?.(offer)
