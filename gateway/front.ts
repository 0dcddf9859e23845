import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { FastifyInstance } from 'fastify'

import { boundConnections } from '../shared/http/connections.ts'
import { HTTP_SERVER_OPTIONS } from '../shared/http/service.ts'
import type { Startable } from '../shared/lifecycle.ts'
import type { Logger } from '../shared/log/log.ts'
import { asPortInUse } from '../shared/process/entry.ts'
import type { FunctionProvider } from './providers/provider.ts'
import { GatewayResponse } from './proxy/gateway-response.ts'
import { FUNCTION_PREFIX, type Invoker } from './proxy/invoker.ts'

type GatewayServer = Server<typeof IncomingMessage, typeof GatewayResponse>

export interface FrontComponents {
  provider: FunctionProvider
  invoker: Invoker
  /** Health and `/system`; told whether the gateway takes calls. */
  createApi(isReady: () => boolean): Promise<FastifyInstance>
  createMetricsApp(): Promise<FastifyInstance>
  log: Logger
}

export interface FrontInit {
  host: string
  port: number
  metricsPort: number
}

/**
 * The listeners of the gateway. States: stopped -> starting -> serving -> draining -> stopped.
 *
 * Calls of functions do not pass through a framework here: the function's own does that work, and
 * doing it twice costs a third of the throughput.
 */
export class Front implements Startable {
  readonly #components: FrontComponents
  readonly #init: FrontInit
  #server: GatewayServer | null = null
  #api: FastifyInstance | null = null
  #metricsApp: FastifyInstance | null = null
  #serving = false

  constructor(components: FrontComponents, init: FrontInit) {
    this.#components = components
    this.#init = init
  }

  async start(init: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#server) return
    const { provider, invoker, log } = this.#components
    const { host, port, metricsPort } = this.#init
    const api = await this.#components.createApi(() => this.#serving)
    const options = { ...HTTP_SERVER_OPTIONS, ServerResponse: GatewayResponse }
    const server = createServer(options, (request, response) => {
      if (request.url?.startsWith(FUNCTION_PREFIX)) invoker.invoke(request, response)
      else api.routing(request, response)
    })
    boundConnections(server)
    this.#server = server
    this.#api = api
    const metricsApp = await this.#components.createMetricsApp()
    this.#metricsApp = metricsApp
    try {
      await provider.start(init)
      const metrics = metricsApp.listen({ host, port: metricsPort })
      await naming('BZZZ_GATEWAY_METRICS_PORT', metrics)
      await naming('BZZZ_GATEWAY_PORT', listen(server, { host, port }))
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#serving = true
    log.info(this.ports(), 'gateway serving')
  }

  /** Readiness goes first, then the listener; requests in flight have the drain time-out. */
  async stop(): Promise<void> {
    const server = this.#server
    if (!server) return
    this.#server = null
    this.#serving = false
    this.#components.log.info('gateway draining')
    const closed = server.listening ? once(server, 'close') : null
    server.close()
    await this.#components.provider.stop()
    server.closeAllConnections()
    await closed
    await this.#api?.close()
    await this.#metricsApp?.close()
    this.#components.log.info('gateway stopped')
  }

  /** As really bound; empty unless serving. */
  ports(): Record<string, number> {
    if (!this.#server?.listening || !this.#metricsApp) return {}
    return { gateway: portOf(this.#server), metrics: portOf(this.#metricsApp.server) }
  }
}

function portOf(server: Pick<Server, 'address'>): number {
  return (server.address() as AddressInfo).port
}

async function listen(
  server: GatewayServer,
  address: { host: string; port: number },
): Promise<void> {
  server.listen(address)
  await once(server, 'listening')
}

/** @throws PortInUseError naming the variable that chooses another port */
async function naming(variable: string, listening: Promise<unknown>): Promise<void> {
  try {
    await listening
  } catch (error) {
    throw asPortInUse(error, variable) ?? error
  }
}
