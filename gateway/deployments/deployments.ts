import {
  DeploymentInvalidError,
  FunctionNotFoundError,
  InvalidConfigError,
  PortInUseError,
} from '../../shared/errors.ts'
import { portOf, type StackFunction } from '../../shared/function/stack-file.ts'
import type { Logger } from '../../shared/log/log.ts'
import { FUNCTIONS_MAX, NAMESPACE } from '../constants.ts'
import { OneAtATime } from '../one-at-a-time.ts'
import type { FunctionRunner } from '../providers/provider.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { Deployed, DeploymentStore } from './deployment-store.ts'
import { deploymentOf, minOf, replicasWithin, withTag, type Deployment } from './deployment.ts'

/** What a caller of the API asks for; the number of replicas follows from the labels. */
export type DeploymentRequest = Omit<Deployed, 'replicas' | 'deployedAt'> & { name: string }

export interface DeploymentsComponents {
  store: DeploymentStore
  secrets: Pick<SecretStore, 'mustHave'>
  provider: FunctionRunner
  log: Logger
}

/**
 * Changes of what is deployed, one at a time. The stack file says which images there are; what is
 * deployed of them is kept in the store and comes back after a restart. A change is started, then
 * kept, then answered: a crash in between leaves the old state or the new one. When the disk
 * refuses to keep it, the caller is told, and the change lasts until the next start.
 */
export class Deployments {
  readonly #components: DeploymentsComponents
  readonly #images: ReadonlyMap<string, StackFunction>
  #deployed: ReadonlyMap<string, Deployed | null>
  readonly #changes = new OneAtATime()

  constructor(
    components: DeploymentsComponents,
    init: { functions: readonly StackFunction[]; deployed: ReadonlyMap<string, Deployed | null> },
  ) {
    this.#components = components
    this.#images = imagesOf(init.functions)
    this.#deployed = init.deployed
  }

  /** @throws FunctionNotFoundError, DeploymentInvalidError, NotSupportedError */
  update(request: DeploymentRequest): Promise<void> {
    return this.#changes.run(async () => {
      this.#mustExist(request.name)
      await this.#deploy(request)
    })
  }

  /** Deploys the function, whether it exists or not. @throws DeploymentInvalidError */
  create(request: DeploymentRequest): Promise<void> {
    return this.#changes.run(() => this.#deploy(request))
  }

  /** @throws FunctionNotFoundError */
  remove(name: string): Promise<void> {
    return this.#changes.run(async () => {
      this.#mustExist(name)
      await this.#keep(name, null)
      await this.#components.provider.remove(name)
      this.#components.log.info({ function: name }, 'function removed')
    })
  }

  /** Up to the label of the largest number. @throws FunctionNotFoundError */
  scale(name: string, replicas: number): Promise<void> {
    return this.#changes.run(async () => {
      const details = this.#mustExist(name).details()
      const scaled = { ...details, replicas: replicasWithin(details.labels, replicas) }
      if (scaled.replicas !== details.replicas) await this.#start(name, scaled)
    })
  }

  async #deploy(request: DeploymentRequest): Promise<void> {
    const { provider, secrets } = this.#components
    const { name, labels } = request
    if (!provider.find(name, NAMESPACE) && provider.list().length >= FUNCTIONS_MAX) {
      throw new DeploymentInvalidError(`There are ${FUNCTIONS_MAX} functions already.`)
    }
    await secrets.mustHave(request.secrets)
    const replicas = replicasWithin(labels, minOf(labels))
    await this.#start(name, { ...request, replicas, deployedAt: new Date() })
  }

  async #start(name: string, asked: Deployed): Promise<void> {
    const { log } = this.#components
    const deployed = only(asked)
    await this.#run(name, deployed).catch((error: unknown) => {
      throw refusalOf(error) ?? error
    })
    await this.#keep(name, deployed)
    log.info({ function: name, image: asked.image, replicas: asked.replicas }, 'function deployed')
  }

  async #run(name: string, deployed: Deployed): Promise<void> {
    const deployment = deploymentFrom(name, deployed, this.#images)
    if (deployment) return this.#components.provider.deploy(deployment)
    const known = [...this.#images.keys()].join(', ')
    throw new DeploymentInvalidError(
      `The image ${deployed.image} is not one of the stack file: ${known}.`,
    )
  }

  async #keep(name: string, deployed: Deployed | null): Promise<void> {
    const next = new Map(this.#deployed).set(name, deployed)
    await this.#components.store.write(next)
    this.#deployed = next
  }

  #mustExist(name: string) {
    const found = this.#components.provider.find(name, NAMESPACE)
    if (!found) throw new FunctionNotFoundError(`There is no function named ${name}.`)
    return found
  }
}

/**
 * What runs after a start: the stack file, and over it what was deployed. A deployment of an image
 * that the stack file no longer names cannot run, and stays in the store for the day it does.
 */
export function restore(
  functions: readonly StackFunction[],
  deployed: ReadonlyMap<string, Deployed | null>,
  log: Logger,
): Deployment[] {
  const images = imagesOf(functions)
  const restored = new Map<string, Deployment>()
  for (const definition of functions) {
    if (deployed.get(definition.name) !== null) {
      restored.set(definition.name, deploymentOf(definition))
    }
  }
  for (const [name, kept] of deployed) {
    if (kept === null) continue
    const deployment = deploymentFrom(name, kept, images)
    if (deployment) restored.set(name, deployment)
    else log.warn({ function: name, image: kept.image }, 'deployment of an unknown image ignored')
  }
  return [...restored.values()]
}

function imagesOf(functions: readonly StackFunction[]): Map<string, StackFunction> {
  return new Map(functions.map((definition) => [withTag(definition.image), definition]))
}

function deploymentFrom(
  name: string,
  deployed: Deployed,
  images: ReadonlyMap<string, StackFunction>,
): Deployment | null {
  const definition = images.get(withTag(deployed.image))
  if (!definition) return null
  const { lang, handler } = definition
  return { ...deployed, name, lang, handler, port: portOf(name, deployed.annotations) }
}

/** The fields that are kept, whatever else came with them. */
function only(deployed: Deployed): Deployed {
  const { image, process, environment, secrets, labels, annotations, constraints } = deployed
  const { limits, requests, readOnlyRootFilesystem, replicas, deployedAt } = deployed
  const described = { image, process, environment, secrets, labels, annotations, constraints }
  return { ...described, limits, requests, readOnlyRootFilesystem, replicas, deployedAt }
}

/** A function that cannot start as it was asked for is the fault of whoever asked. */
function refusalOf(error: unknown): Error | null {
  if (!(error instanceof InvalidConfigError || error instanceof PortInUseError)) return null
  return new DeploymentInvalidError(error.message, { cause: error })
}
