import { join } from 'node:path'

import { deploymentOf } from '../../gateway/deployments/deployment.ts'

/** The fixture function as a stack file would name it. */
export const ECHO = deploymentOf({
  name: 'echo',
  lang: 'node24-ts',
  handler: join(import.meta.dirname, 'functions', 'echo'),
  image: 'localhost:5000/echo:v1',
  environment: { GREETING: 'hello' },
  secrets: ['greeting-key'],
  labels: { team: 'blue' },
  annotations: { topic: 'greetings' },
  limits: { memory: '64Mi' },
  requests: null,
  readOnlyRootFilesystem: true,
  port: 0,
})
