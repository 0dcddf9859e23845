import type { AddressInfo } from 'node:net'

import type { FastifyInstance } from 'fastify'

import { authPlugin, type AuthComponents } from '../../shared/auth/plugin.ts'
import {
  createService,
  type ServiceComponents,
  type ServiceInit,
} from '../../shared/http/service.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import { agentRoutes, type AgentRoutesOptions } from './agents.ts'
import { addressRoutes, type AddressRoutesOptions } from './addresses.ts'
import { announceRoutes, type AnnounceRoutesOptions } from './announce.ts'
import { blobBatchReadRoutes, type BlobBatchReadRoutesOptions } from './blob-batch-read.ts'
import { blobBatchRoutes, type BlobBatchRoutesOptions } from './blob-batch.ts'
import { blobRoutes, type BlobRoutesOptions } from './blobs.ts'
import { eventRoutes, type EventRoutesOptions } from './events.ts'
import { gcRoutes, type GCRoutesOptions } from './gc.ts'
import { joinRoutes, type JoinRoutesOptions } from './join.ts'
import { meshRoutes, type MeshRoutesOptions } from './mesh.ts'
import { modelRoutes, type ModelRoutesOptions } from './models.ts'
import { nodeRoutes, type NodeRoutesOptions } from './nodes.ts'
import { pinRoutes, type PinRoutesOptions } from './pins.ts'
import { policyRoutes, type PolicyRoutesOptions } from './policy.ts'
import { quotaRoutes, type QuotaRoutesOptions } from './quotas.ts'
import { retainRoutes, type RetainRoutesOptions } from './retain.ts'
import { revocationRoutes, type RevocationRoutesOptions } from './revocations.ts'
import { scrubRoutes, type ScrubRoutesOptions } from './scrub.ts'
import { searchRoutes, type SearchRoutesOptions } from './search.ts'

export interface HttpServerComponents extends ServiceComponents {
  auth: AuthComponents
  routes: BlobRoutesOptions &
    BlobBatchRoutesOptions &
    BlobBatchReadRoutesOptions &
    AddressRoutesOptions &
    AnnounceRoutesOptions &
    SearchRoutesOptions &
    PolicyRoutesOptions &
    MeshRoutesOptions &
    ModelRoutesOptions &
    NodeRoutesOptions &
    AgentRoutesOptions &
    EventRoutesOptions &
    JoinRoutesOptions &
    PinRoutesOptions &
    GCRoutesOptions &
    QuotaRoutesOptions &
    RetainRoutesOptions &
    RevocationRoutesOptions &
    ScrubRoutesOptions
}

export interface HttpServerInit {
  host: string
  port: number
  ready: NonNullable<ServiceInit['ready']>
}

/** The node's HTTP API, for functions and tools. */
export class HttpServer implements Startable {
  readonly #components: HttpServerComponents
  readonly #init: HttpServerInit
  #app: FastifyInstance | undefined

  constructor(components: HttpServerComponents, init: HttpServerInit) {
    this.#components = components
    this.#init = init
  }

  /** The port really bound. */
  get port(): number {
    const address = this.#app?.server.address() as AddressInfo | null | undefined
    return address?.port ?? this.#init.port
  }

  async start(): Promise<void> {
    if (this.#app) return
    const { log, registry, auth, routes } = this.#components
    const app = createService({ log, registry }, { ready: this.#init.ready })
    this.#app = app
    await app.register(authPlugin, auth)
    await app.register(blobRoutes, routes)
    await app.register(blobBatchRoutes, routes)
    await app.register(blobBatchReadRoutes, routes)
    await app.register(addressRoutes, routes)
    await app.register(announceRoutes, routes)
    await app.register(searchRoutes, routes)
    await app.register(policyRoutes, routes)
    await app.register(meshRoutes, routes)
    await app.register(nodeRoutes, routes)
    await app.register(modelRoutes, routes)
    await app.register(agentRoutes, routes)
    await app.register(eventRoutes, { ...routes, isRevoked: auth.isRevoked })
    await app.register(joinRoutes, routes)
    await app.register(retainRoutes, routes)
    await app.register(pinRoutes, routes)
    await app.register(gcRoutes, routes)
    await app.register(quotaRoutes, routes)
    await app.register(revocationRoutes, routes)
    await app.register(scrubRoutes, routes)
    await app.listen({ host: this.#init.host, port: this.#init.port })
  }

  async stop(): Promise<void> {
    const app = this.#app
    this.#app = undefined
    await app?.close()
  }
}
