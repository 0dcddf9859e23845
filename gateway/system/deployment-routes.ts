import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { DeploymentInvalidError } from '../../shared/errors.ts'
import { functionName } from '../../shared/function/stack-file.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { NAMESPACE } from '../constants.ts'
import type { DeploymentRequest, Deployments } from '../deployments/deployments.ts'
import { splitName } from '../proxy/invoker.ts'
import { ADMIN } from './admin-auth.ts'
import { here } from './here.ts'

/** faas-cli leaves out what is empty, and Go writes null for it. */
const texts = z
  .record(z.string(), z.string())
  .nullish()
  .transform((map) => map ?? {})
const list = z
  .array(z.string())
  .nullish()
  .transform((items) => items ?? [])
const resources = z
  .object({ memory: z.string().optional(), cpu: z.string().optional() })
  .nullish()
  .transform((given) => given ?? null)
const namespace = z.literal(['', NAMESPACE]).nullish()

/** OpenFaaS's `FunctionDeployment`. Fields that nothing here can honour are passed over. */
const deploymentSchema = z.object({
  service: functionName,
  image: z.string().min(1),
  namespace,
  envProcess: z.string().nullish(),
  envVars: texts,
  constraints: list,
  secrets: list,
  labels: texts,
  annotations: texts,
  limits: resources,
  requests: resources,
  readOnlyRootFilesystem: z.boolean().default(false),
})

const removalSchema = z.object({ functionName: z.string().min(1), namespace })

const scaleSchema = z.object({ replicas: z.number().int().min(0), namespace })

/**
 * Deploy, remove and scale. Success is 202, the one answer that every version of faas-cli takes for
 * one: with 201 it says "deployed" and ends as if it had failed.
 */
export async function deploymentRoutes(
  app: FastifyInstance,
  options: { deployments: Deployments | null },
): Promise<void> {
  const deployments = () => here(options.deployments)

  app.post('/system/functions', ADMIN, async ({ body }, reply) => {
    await deployments().create(requestOf(body))
    return reply.code(202).send()
  })

  // Of a function that is not there: 404, upon which faas-cli sends the same as a POST.
  app.put('/system/functions', ADMIN, async ({ body }, reply) => {
    await deployments().update(requestOf(body))
    return reply.code(202).send()
  })

  app.delete('/system/functions', ADMIN, async ({ body }, reply) => {
    await deployments().remove(parseWith(removalSchema, body).functionName)
    return reply.code(202).send()
  })

  app.post<{ Params: { name: string } }>(
    '/system/scale-function/:name',
    ADMIN,
    async ({ params, body }, reply) => {
      const { name, namespace: inName } = splitName(params.name)
      if (inName !== NAMESPACE) throw new DeploymentInvalidError(`There is no ${inName}.`)
      await deployments().scale(name, parseWith(scaleSchema, body).replicas)
      return reply.code(202).send()
    },
  )
}

function requestOf(body: unknown): DeploymentRequest {
  const given = parseWith(deploymentSchema, body)
  return {
    name: given.service,
    image: given.image,
    process: given.envProcess ?? '',
    environment: given.envVars,
    secrets: given.secrets,
    labels: given.labels,
    annotations: given.annotations,
    constraints: given.constraints,
    limits: given.limits,
    requests: given.requests,
    readOnlyRootFilesystem: given.readOnlyRootFilesystem,
  }
}
