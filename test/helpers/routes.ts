import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import type { FastifyInstance, RouteOptions } from 'fastify'

/** A route as it was registered, and the app that serves it. */
export interface FoundRoute {
  part: string
  app: FastifyInstance
  method: string
  url: string
  config: NonNullable<RouteOptions['config']>
}

/**
 * Notes every route of every Fastify app that `start` makes, whoever makes it: nothing that serves
 * callers can be left out of a list by mistake.
 */
export async function collectRoutes<T>(
  part: string,
  start: () => Promise<T>,
): Promise<{ started: T; routes: FoundRoute[] }> {
  const routes: FoundRoute[] = []
  const onInstance = (message: unknown): void => {
    const { fastify: app } = message as { fastify: FastifyInstance }
    app.addHook('onRoute', ({ method, url, config = {} }) => {
      for (const one of [method].flat()) routes.push({ part, app, method: one, url, config })
    })
  }
  subscribe('fastify.initialization', onInstance)
  try {
    return { started: await start(), routes }
  } finally {
    unsubscribe('fastify.initialization', onInstance)
  }
}
