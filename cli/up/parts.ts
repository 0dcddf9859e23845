import { join } from 'node:path'

import type { Env } from '../../shared/config/env.ts'
import { childEnv, type PartSpec } from './child-process.ts'
import { DRAIN_TIMEOUT_MS, GATEWAY_STOP_TIMEOUT_MS, NODE_STOP_TIMEOUT_MS } from './constants.ts'
import type { DataLayout } from './data-layout.ts'
import type { NodePorts, PortPlan } from './ports.ts'

/** Roles of the design's three nodes; further ones only store. */
const ROLES: Readonly<Record<string, string>> = {
  walnut: 'content-routing,agent-discovery',
  ironwood: 'threads,llm-coordination',
  acacia: 'mcp,external-integration',
}

/** As many as the design's stack names; the others are found through them. */
const BOOTSTRAP_NODES_MAX = 3

export interface PartsContext {
  env: Env
  layout: DataLayout
  plan: PortPlan
  host: string
  /** Where peers come in. */
  meshHost: string
  offset: number
  stackFile: string
  databaseURL: string
  redisURL: string | undefined
}

/** Where this machine reaches a listener that may be bound to all addresses. */
export function connectHost(host: string): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
}

export function nodeEndpoint(host: string, node: NodePorts): string {
  return `http://${connectHost(host)}:${node.http}`
}

function common(context: PartsContext): Record<string, string> {
  return {
    BZZZ_HOST: context.host,
    BZZZ_TOKEN_KEYS_FILE: context.layout.tokenPublicKeys,
    BZZZ_AUDIT_SPOOL_DIR: join(context.layout.logs, 'audit'),
    DATABASE_URL: context.databaseURL,
    ...(context.redisURL && { REDIS_URL: context.redisURL }),
    BZZZ_STOP_TIMEOUT: `${DRAIN_TIMEOUT_MS}ms`,
    NODE_COMPILE_CACHE: context.env['NODE_COMPILE_CACHE'] ?? context.layout.cache,
  }
}

export function nodePart(context: PartsContext, node: NodePorts): PartSpec {
  const { env, layout, plan, meshHost } = context
  const others = plan.nodes.slice(0, BOOTSTRAP_NODES_MAX).filter(({ name }) => name !== node.name)
  return {
    name: node.name,
    entry: 'p2p-daemon/main.ts',
    logFile: join(layout.logs, `${node.name}.log`),
    stopTimeoutMs: NODE_STOP_TIMEOUT_MS,
    env: childEnv(env, {
      ...common(context),
      BZZZ_LISTEN: meshHost,
      BZZZ_NODE_NAME: node.name,
      BZZZ_DATA_DIR: join(layout.nodes, node.name),
      BZZZ_HTTP_PORT: String(node.http),
      BZZZ_P2P_PORT: String(node.p2p),
      BZZZ_BULK_PORT: String(node.bulk),
      DHT_BOOTSTRAP_NODES: [
        ...others.map(({ p2p }) => `${connectHost(meshHost)}:${p2p}`),
        ...(env['DHT_BOOTSTRAP_NODES'] ? [env['DHT_BOOTSTRAP_NODES']] : []),
      ].join(','),
      BZZZ_ROLES: ROLES[node.name] ?? 'storage',
    }),
  }
}

export function gatewayPart(context: PartsContext): PartSpec {
  const { env, layout, plan, host, offset, stackFile } = context
  return {
    name: 'gateway',
    entry: 'gateway/main.ts',
    logFile: join(layout.logs, 'gateway.log'),
    stopTimeoutMs: GATEWAY_STOP_TIMEOUT_MS,
    env: childEnv(env, {
      ...common(context),
      BZZZ_GATEWAY_DATA_DIR: layout.gateway,
      BZZZ_GATEWAY_PORT: String(plan.gateway),
      BZZZ_GATEWAY_METRICS_PORT: String(plan.gatewayMetrics),
      BZZZ_PORT_OFFSET: String(offset),
      BZZZ_STACK_FILE: stackFile,
      ...(!env['BZZZ_LLM_RECORD_TOKEN'] && { BZZZ_LLM_RECORD_TOKEN_FILE: layout.adminToken }),
      BZZZ_LLM_SPOOL_DIR: join(layout.logs, 'usage'),
      ...mcpEnv(context),
      BZZZ_ENDPOINT: plan.nodes.map((node) => nodeEndpoint(host, node)).join(','),
    }),
  }
}

/** Where clients reach the function `mcp`; what the user says of it goes first. */
function mcpEnv({ env, host, plan }: PartsContext): Record<string, string> {
  const port = plan.functions['mcp']
  if (port === undefined || env['BZZZ_MCP_PUBLIC_URL']) return {}
  return { BZZZ_MCP_PUBLIC_URL: `http://${connectHost(host)}:${port}/mcp` }
}

export function connectorPart(context: PartsContext): PartSpec {
  const { env, layout, plan, host } = context
  return {
    name: 'connector',
    entry: 'connector/main.ts',
    logFile: join(layout.logs, 'connector.log'),
    // Stopped together with the gateway, which it calls.
    stopTimeoutMs: GATEWAY_STOP_TIMEOUT_MS,
    env: childEnv(env, {
      ...common(context),
      BZZZ_CONNECTOR_PORT: String(plan.connector),
      BZZZ_GATEWAY_URL: `http://${connectHost(host)}:${plan.gateway}`,
      BZZZ_TOKEN_FILE: layout.adminToken,
      BZZZ_CALLBACK_SECRET_FILE: layout.callbackSecret,
      BZZZ_ENDPOINT: plan.nodes.map((node) => nodeEndpoint(host, node)).join(','),
    }),
  }
}
