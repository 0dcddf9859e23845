import type { StackFunction } from '../../shared/function/stack-file.ts'
import { REPLICAS_DEFAULT_MAX, REPLICAS_MAX } from '../constants.ts'

/** A function as it is to run: what the stack file or a deployment says, and how many of it. */
export interface Deployment extends StackFunction {
  /** The command of the image: told to people, run by platforms. */
  process: string
  constraints: readonly string[]
  replicas: number
  deployedAt: Date
}

/** A function of the stack file that nobody has deployed otherwise. */
export function deploymentOf(definition: StackFunction): Deployment {
  return {
    ...definition,
    process: '',
    constraints: [],
    replicas: replicasWithin(definition.labels, minOf(definition.labels)),
    deployedAt: new Date(),
  }
}

/** What OpenFaaS's label of the least number asks for; one where there is none. */
export function minOf(labels: Readonly<Record<string, string>>): number {
  return countOf(labels['com.openfaas.scale.min']) ?? 1
}

/** As many replicas as asked for, up to the label of the largest number and to our own bound. */
export function replicasWithin(labels: Readonly<Record<string, string>>, asked: number): number {
  const max = countOf(labels['com.openfaas.scale.max']) ?? REPLICAS_DEFAULT_MAX
  return Math.min(asked, max, REPLICAS_MAX)
}

function countOf(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,4}$/.test(text) ? Number(text) : null
}

/** An image without a tag is the latest, as faas-cli and every registry have it. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1)
  return last.includes(':') || last.includes('@') ? image : `${image}:latest`
}
