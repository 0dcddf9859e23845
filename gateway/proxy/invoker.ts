import type { IncomingMessage } from 'node:http'

import { FunctionNotFoundError } from '../../shared/errors.ts'
import { STATUS_CALLER_LEFT } from '../../shared/http/wire-error.ts'
import type { Logger } from '../../shared/log/log.ts'
import { NAMESPACE } from '../constants.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import { answerError } from './answer-error.ts'
import { forwardHeaders } from './forwarded.ts'
import type { GatewayResponse } from './gateway-response.ts'

export const FUNCTION_PREFIX = '/function/'

/** `NAME[.NAMESPACE]`, then what the function sees: a path, a query, or nothing. */
const TARGET = /^\/function\/([-A-Za-z0-9_.]+)(\/[^?]*)?(\?.*)?$/

export interface InvokerComponents {
  provider: Pick<FunctionProvider, 'find'>
  metrics: GatewayMetrics
  log: Logger
}

/** Hands `ANY /function/NAME/path?query` to the function, streams and all. */
export class Invoker {
  readonly #components: InvokerComponents

  constructor(components: InvokerComponents) {
    this.#components = components
  }

  invoke(request: IncomingMessage, response: GatewayResponse): void {
    const { provider, metrics, log } = this.#components
    const target = TARGET.exec(request.url ?? '')
    const { name, namespace } = splitName(target?.[1] ?? '')
    const deployed = provider.find(name, namespace)
    if (!target || !deployed) {
      metrics.unknownFunction()
      const message = `There is no function named ${name === '' ? 'so' : name}.`
      answerError(response, undefined, new FunctionNotFoundError(message))
      return
    }
    const functionName = `${name}.${namespace}`
    const startedAt = performance.now()
    metrics.begin(functionName)
    response.on('close', () => {
      const status = response.headersSent ? response.statusCode : STATUS_CALLER_LEFT
      metrics.end(functionName, status, (performance.now() - startedAt) / 1000)
    })
    request.url = (target[2] ?? '/') + (target[3] ?? '')
    response.addHeaders(forwardHeaders(request))
    try {
      deployed.dispatch(request, response)
    } catch (error) {
      const status = answerError(response, request.headers['x-call-id'], error)
      if (status === 500) log.error({ err: error, function: functionName }, 'dispatch failed')
    }
  }
}

/** The text after the last dot is the namespace. */
export function splitName(text: string): { name: string; namespace: string } {
  const dot = text.lastIndexOf('.')
  if (dot === -1) return { name: text, namespace: NAMESPACE }
  return { name: text.slice(0, dot), namespace: text.slice(dot + 1) }
}
