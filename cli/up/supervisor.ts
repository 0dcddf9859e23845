import { join } from 'node:path'

import { stopAll, type Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { migrateDatabase, openDatabase, requireMigrated } from '../../shared/db/database.ts'
import { migrateQueue } from '../../shared/queue/postgres-backend.ts'
import { VERSION } from '../../shared/version.ts'
import type { Output } from '../host.ts'
import { partProcess, type PartSpec, type ReadyMessage } from './child-process.ts'
import { POSTGRES_STOP_TIMEOUT_MS, STOP_TIMEOUT_MS } from './constants.ts'
import { writeMarker, type Marker } from './data-folder.ts'
import type { LogFollower } from './log-file.ts'
import { joinMesh } from './mesh.ts'
import {
  connectHost,
  connectorPart,
  gatewayPart,
  nodeEndpoint,
  nodePart,
  type PartsContext,
} from './parts.ts'
import { EmbeddedPostgres } from './postgres/embedded-postgres.ts'
import { POSTGRES_MAJOR } from './postgres/initialise.ts'
import type { RunningFile, RunningState } from './running-file.ts'
import { Steps, timed } from './steps.ts'
import { SupervisedProcess } from './supervised-process.ts'

export interface SupervisorComponents {
  log: Logger
  /** Where the steps of the start are told to a person. */
  output: Output
  runningFile: RunningFile
  follower: LogFollower | null
}

export interface SupervisorInit extends Omit<PartsContext, 'databaseURL'> {
  marker: Marker
  token: string
  /** Null for the embedded server. */
  databaseURL: string | null
  /** Whether that database may be migrated; the embedded one always is. */
  migrate: boolean
}

/**
 * Runs the parts of a cluster on one machine. Order: database, nodes, the mesh between them,
 * gateway and connector; stopped in reverse. All but the database are told to start at once and
 * awaited in order.
 */
export class Supervisor {
  readonly #components: SupervisorComponents
  readonly #init: SupervisorInit
  readonly #postgres: EmbeddedPostgres | null
  #nodes: SupervisedProcess<ReadyMessage>[] = []
  #gateway: SupervisedProcess<ReadyMessage> | null = null
  #connector: SupervisedProcess<ReadyMessage> | null = null
  #ready = false

  constructor(components: SupervisorComponents, init: SupervisorInit) {
    this.#components = components
    this.#init = init
    this.#postgres = init.databaseURL === null ? this.#createPostgres() : null
  }

  /** @throws when a part does not come up; the caller then calls `stop`. */
  async start({ signal }: { signal: AbortSignal }): Promise<RunningState> {
    const { plan, host, token, layout } = this.#init
    await this.#tellState()
    const steps = new Steps(
      { output: this.#components.output },
      {
        names: [
          this.#postgres ? 'postgres' : 'database',
          ...plan.nodes.map(({ name }) => name),
          ...(plan.nodes.length > 1 ? ['mesh'] : []),
          'gateway',
          'connector',
        ],
      },
    )
    const databaseURL = await steps.run(timed(this.#startDatabase(signal)))
    const context = { ...this.#init, databaseURL }
    this.#nodes = plan.nodes.map((node) => this.#supervise(nodePart(context, node)))
    this.#gateway = this.#supervise(gatewayPart(context))
    const nodes = this.#nodes.map((part) => timed(part.start({ signal })))
    const gateway = timed(this.#gateway.start({ signal }))
    this.#connector = this.#supervise(connectorPart(context))
    const connector = timed(this.#connector.start({ signal }))
    // The first failure among them ends the start, whichever part is awaited at the time.
    const failure = failureOf([...nodes, gateway, connector])
    const meshNodes = []
    for (const [index, node] of plan.nodes.entries()) {
      const { peerId = '' } = await steps.run(Promise.race([nodes[index]!, failure]))
      const dataDir = join(layout.nodes, node.name)
      meshNodes.push({ name: node.name, dataDir, endpoint: nodeEndpoint(host, node), peerId })
    }
    if (meshNodes.length > 1) {
      const mesh = timed(joinMesh(meshNodes, { token, signal }))
      await steps.run(Promise.race([mesh, failure]))
    }
    await steps.run(gateway)
    await steps.run(connector)
    this.#ready = true
    return this.#tellState()
  }

  /** Within STOP_TIMEOUT_MS, whatever the parts do; `force` makes it at once. All are gone then. */
  async stop({ force }: { force: AbortSignal }): Promise<void> {
    this.#ready = false
    const deadlineMs = Date.now() + STOP_TIMEOUT_MS
    const { runningFile, follower } = this.#components
    const stopPostgres = async () => {
      const timeoutMs = Math.max(deadlineMs - Date.now(), POSTGRES_STOP_TIMEOUT_MS)
      await this.#postgres?.stop({ force, timeoutMs })
    }
    await stopAll([
      stopping(async () => follower?.stop()),
      stopping(() => runningFile.remove()),
      stopping(stopPostgres),
      stopping(() => this.#stopNodes(force)),
      stopping(() => this.#stopFront(force)),
    ])
  }

  /** Together: the jobs in the connector's hands are calls in those of the gateway. */
  async #stopFront(force: AbortSignal): Promise<void> {
    await Promise.all([this.#connector?.stop({ force }), this.#gateway?.stop({ force })])
  }

  async #stopNodes(force: AbortSignal): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop({ force })))
  }

  async #startDatabase(signal: AbortSignal): Promise<string> {
    const { log, follower } = this.#components
    const { layout } = this.#init
    if (this.#postgres) follower?.follow('postgres', join(layout.logs, 'postgres.log'))
    const url = this.#postgres
      ? await this.#postgres.start({ signal })
      : (this.#init.databaseURL ?? '')
    const database = openDatabase(url, { log })
    try {
      // One that others may use as well is changed only when told.
      if (!this.#postgres && !this.#init.migrate) {
        await requireMigrated(database.db)
        return url
      }
      const migrations = await migrateDatabase(database.db)
      if (migrations.length > 0) log.info({ migrations }, 'database migrated')
      await migrateQueue(url)
    } finally {
      await database.close()
    }
    return url
  }

  #createPostgres(): EmbeddedPostgres {
    const { layout, marker } = this.#init
    return new EmbeddedPostgres(
      { log: this.#components.log },
      {
        folder: layout.postgres,
        logFile: join(layout.logs, 'postgres.log'),
        initialised: marker.postgres !== undefined,
        onInitialised: () =>
          writeMarker(layout, { ...marker, postgres: { major: POSTGRES_MAJOR } }),
        onReady: () => this.#partReady(),
      },
    )
  }

  #supervise(part: PartSpec): SupervisedProcess<ReadyMessage> {
    const { log, follower } = this.#components
    follower?.follow(part.name, part.logFile)
    return new SupervisedProcess(
      { log },
      { spec: partProcess(part), onReady: () => this.#partReady() },
    )
  }

  /** A part that was started again has another process id. */
  #partReady(): void {
    if (!this.#ready) return
    this.#tellState().catch((error: unknown) => {
      this.#components.log.error({ err: error }, 'running.json cannot be written')
    })
  }

  /** Writes down who runs where, so that `bzzz status` and the next start find it. */
  async #tellState(): Promise<RunningState> {
    const { layout, plan, host } = this.#init
    const at = (port: number) => `http://${connectHost(host)}:${port}`
    const postgresPid = await this.#postgres?.pid()
    const parts = [...this.#nodes, this.#gateway, this.#connector].filter((part) => part !== null)
    const processes = [
      ...(postgresPid ? [['postgres', postgresPid] as const] : []),
      ...parts.map((part) => [part.name, part.pid] as const),
    ]
    const state = {
      pid: process.pid,
      version: VERSION,
      dataDir: layout.root,
      tokenFile: layout.adminToken,
      ready: this.#ready,
      endpoints: {
        gateway: at(plan.gateway),
        metrics: at(plan.gatewayMetrics),
        functions: Object.fromEntries(
          Object.entries(plan.functions).map(([name, port]) => [name, at(port)]),
        ),
        nodes: plan.nodes.map((node) => ({ name: node.name, http: nodeEndpoint(host, node) })),
      },
      processes: Object.fromEntries(
        processes.filter((entry): entry is readonly [string, number] => entry[1] !== null),
      ),
    }
    await this.#components.runningFile.write(state)
    return state
  }
}

/** Something that is stopped in its turn. */
function stopping(stop: () => Promise<void>): Startable {
  return { start: () => Promise.resolve(), stop }
}

/** Rejects with the first failure among them; never resolves. */
function failureOf(works: readonly Promise<unknown>[]): Promise<never> {
  const failure = new Promise<never>((_, reject) => {
    for (const work of works) work.catch(reject)
  })
  // Whoever awaits it is told; nobody may be at the time.
  failure.catch(() => undefined)
  return failure
}
