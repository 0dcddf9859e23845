import type { FunctionDetails } from '../providers/provider.ts'

/** A function as the API of OpenFaaS shows it (`FunctionStatus`). */
export interface FunctionStatus {
  name: string
  image: string
  namespace: string
  envProcess: string
  envVars: Readonly<Record<string, string>>
  constraints: readonly string[]
  secrets: readonly string[]
  labels: Readonly<Record<string, string>>
  annotations: Readonly<Record<string, string>>
  limits?: { memory?: string | undefined; cpu?: string | undefined }
  requests?: { memory?: string | undefined; cpu?: string | undefined }
  readOnlyRootFilesystem: boolean
  invocationCount: number
  replicas: number
  availableReplicas: number
  /** RFC 3339: faas-cli cannot list a function whose time it cannot read. */
  createdAt: string
}

export function toStatus(details: FunctionDetails, invocationCount: number): FunctionStatus {
  const { limits, requests } = details
  return {
    name: details.name,
    image: details.image,
    namespace: details.namespace,
    envProcess: details.process,
    envVars: details.environment,
    constraints: details.constraints,
    secrets: details.secrets,
    labels: details.labels,
    annotations: details.annotations,
    ...(limits && { limits }),
    ...(requests && { requests }),
    readOnlyRootFilesystem: details.readOnlyRootFilesystem,
    invocationCount,
    replicas: details.replicas,
    availableReplicas: details.availableReplicas,
    createdAt: details.deployedAt.toISOString(),
  }
}
