import { connectBulk, serveBulk } from './bulk.ts'
import { connectLibp2p, serveLibp2p } from './libp2p-stream.ts'
import type { Payload, Work } from './payload.ts'
import { connectPlainTLS, servePlainTLS } from './plain-tls.ts'

/** One way of getting all of the work here and checked. */
export interface Client {
  fetch(work: Work): Promise<void>
  close(): Promise<void>
}

interface Contender {
  /** Resolves to what the client must know. */
  serve(payload: Payload): Promise<unknown>
  connect(address: never): Promise<Client>
}

export const CONTENDERS = {
  bulk: { serve: serveBulk, connect: connectBulk },
  tls: { serve: servePlainTLS, connect: (port) => connectPlainTLS(port, 'events') },
  tlsInPlace: { serve: servePlainTLS, connect: (port) => connectPlainTLS(port, 'in place') },
  libp2p: { serve: serveLibp2p, connect: connectLibp2p },
} satisfies Record<string, Contender>

export type ContenderName = keyof typeof CONTENDERS
