import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import { boundConnections } from '../../shared/http/connections.ts'
import { HTTP_SERVER_OPTIONS } from '../../shared/http/service.ts'
import { asPortInUse } from '../../shared/process/entry.ts'

/**
 * A port of a function's own. It outlives the function's deployments: a caller on a kept connection
 * is served by whichever runs.
 */
export class FunctionListener {
  /** As asked for: 0 is any free port. */
  readonly port: number
  readonly #server: Server

  constructor(serve: RequestListener, init: { port: number }) {
    this.port = init.port
    this.#server = createServer(HTTP_SERVER_OPTIONS, serve)
    boundConnections(this.#server)
  }

  /** @throws PortInUseError */
  async start(host: string): Promise<void> {
    try {
      this.#server.listen({ host, port: this.port })
      await once(this.#server, 'listening')
    } catch (error) {
      throw asPortInUse(error) ?? error
    }
  }

  get boundPort(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Takes no more connections. Requests in flight go on until `cut`. */
  close(): void {
    if (this.#server.listening) this.#server.close()
  }

  cut(): void {
    this.close()
    this.#server.closeAllConnections()
  }
}
