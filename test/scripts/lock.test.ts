import { describe, expect, it } from 'vitest'
import { completeLock, missingPlatforms, type Lock } from '../../scripts/lock.ts'

const NATIVE = '@x/hash-linux-x64-gnu'

const lockWith = (optionalDependencies: Record<string, string>): Lock => ({
  packages: {
    '': {},
    'node_modules/@x/hash': { version: '1.0.0', dev: true, optionalDependencies },
    'node_modules/zod': { version: '1.0.0' },
  },
})

describe('lock', () => {
  it('adds a platform package that its parent pins, with the platform of its name', () => {
    const missing = missingPlatforms(
      lockWith({ [NATIVE]: '1.2.3', '@x/hash-darwin-arm64': '1.2.3' }),
    )
    expect(Object.fromEntries(missing)).toEqual({
      [`node_modules/${NATIVE}`]: {
        version: '1.2.3',
        cpu: ['x64'],
        os: ['linux'],
        libc: ['glibc'],
        optional: true,
        dev: true,
      },
      'node_modules/@x/hash-darwin-arm64': {
        version: '1.2.3',
        cpu: ['arm64'],
        os: ['darwin'],
        optional: true,
        dev: true,
      },
    })
  })

  it('sees an entry beside the parent and one inside it', () => {
    const beside = lockWith({ [NATIVE]: '1.2.3' })
    beside.packages[`node_modules/${NATIVE}`] = { version: '1.2.3' }
    expect(missingPlatforms(beside).size).toBe(0)
    const inside = lockWith({ [NATIVE]: '1.2.3' })
    inside.packages[`node_modules/@x/hash/node_modules/${NATIVE}`] = { version: '1.2.3' }
    expect(missingPlatforms(inside).size).toBe(0)
  })

  it('leaves ranges alone and refuses a name without a platform', () => {
    expect(missingPlatforms(lockWith({ fsevents: '^2.3.3' })).size).toBe(0)
    expect(() => missingPlatforms(lockWith({ 'x-native': '2.3.3' }))).toThrow('platform')
  })

  it('writes the entries in the order of npm and is done after one time', () => {
    const complete = completeLock(lockWith({ [NATIVE]: '1.2.3' }))
    expect(Object.keys(complete.packages)).toEqual([
      '',
      'node_modules/@x/hash',
      `node_modules/${NATIVE}`,
      'node_modules/zod',
    ])
    expect(completeLock(complete)).toEqual(complete)
  })
})
