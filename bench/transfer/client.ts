/** The receiving process of one contender: `node client.ts <name>`, told the rest over IPC. */
import { CONTENDERS, type Client, type ContenderName } from './contenders.ts'
import type { Offer } from './server.ts'

export type Order = { offer: Offer } | { fetch: 'big' | 'small' }

let client: Client | undefined
let offer: Offer | undefined

process.on('message', (order: Order) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.send?.('ready')

/** The seconds that a fetch took. */
async function obey(order: Order): Promise<{ seconds: number }> {
  if ('offer' in order) {
    offer = order.offer
    const { connect } = CONTENDERS[process.argv[2] as ContenderName]
    client = await connect(offer.address as never)
    return { seconds: 0 }
  }
  if (!client || !offer) throw new Error('There is no offer yet.')
  const startedAt = performance.now()
  await client.fetch(offer.work[order.fetch])
  return { seconds: (performance.now() - startedAt) / 1000 }
}
