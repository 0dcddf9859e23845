import { join } from 'node:path'

import type { StackFunction } from '../../shared/function/stack-file.ts'

/** The fixture function as a stack file would name it. */
export const ECHO: StackFunction = {
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
}
