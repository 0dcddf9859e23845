import { defineConfig } from 'vitest/config'
import { FaultReporter } from './scripts/fault-reporter.ts'
import { SkipReporter } from './scripts/skip-reporter.ts'

/** Two, because the machines that run this have two cores; more only makes sockets wait. */
const WORKERS_MAX = 2

/**
 * Longest time for one test or hook of the kind. It ends a hang and measures nothing: a machine
 * that does other work at the same time must not fail a test.
 */
const UNIT_TIMEOUT_MS = 180_000
const INTEGRATION_TIMEOUT_MS = 180_000
const E2E_TIMEOUT_MS = 180_000
const FAULTS_TIMEOUT_MS = 600_000

/** Rules about the source itself; they run by file list, so they take no folder of their own. */
const TIDY = ['test/tidy.test.ts', 'test/lint.test.ts', 'test/docs.test.ts']

/** Folders that belong to a later project. */
const HEAVY = ['test/integration/**', 'test/e2e/**', 'test/faults/**']

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: WORKERS_MAX,
    passWithNoTests: true,
    reporters: [new SkipReporter(), new FaultReporter(), 'default'],
    // A test that forgets to await must not pass.
    dangerouslyIgnoreUnhandledErrors: false,
    // Faults run a few rounds by default and many in `npm run test:faults`.
    env: { BZZZ_FAULTS: process.env['BZZZ_FAULTS'] ?? 'short' },
    projects: [
      {
        extends: true,
        test: {
          name: 'tidy',
          include: TIDY,
          testTimeout: INTEGRATION_TIMEOUT_MS,
          hookTimeout: INTEGRATION_TIMEOUT_MS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...TIDY, ...HEAVY],
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: INTEGRATION_TIMEOUT_MS,
          hookTimeout: INTEGRATION_TIMEOUT_MS,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: E2E_TIMEOUT_MS,
          hookTimeout: E2E_TIMEOUT_MS,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'faults',
          include: ['test/faults/**/*.test.ts'],
          testTimeout: FAULTS_TIMEOUT_MS,
          hookTimeout: FAULTS_TIMEOUT_MS,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
})
