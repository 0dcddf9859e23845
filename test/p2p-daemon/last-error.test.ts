import { openSync } from 'node:fs'
import { devNull } from 'node:os'

import { describe, expect, it } from 'vitest'

import { LastError } from '../../p2p-daemon/last-error.ts'
import { StorageUnavailableError } from '../../shared/errors.ts'
import { createLogger } from '../../shared/log/log.ts'

function create() {
  const last = new LastError()
  // Written to the null device: only what reaches `note` is looked at.
  const log = createLogger({
    name: 'test',
    pretty: false,
    fd: openSync(devNull, 'w'),
    onError: (args) => last.note(args),
  })
  return { last, log }
}

describe('last error', () => {
  it('keeps the sentence and the code of the newest, children included, and no detail', () => {
    const { last, log } = create()
    expect(last.current()).toBeNull()
    log.warn({ err: new Error('secret') }, 'a warning')
    expect(last.current()).toBeNull()
    log.error({ err: new StorageUnavailableError('secret path') }, 'the disk refused a write')
    expect(last.current()).toEqual({
      at: expect.any(String),
      message: 'the disk refused a write',
      code: 'BZZZ_STORAGE_UNAVAILABLE',
    })
    log.child({ component: 'x' }).error({ code: 'BZZZ_INTERNAL' }, 'request failed')
    expect(last.current()).toMatchObject({ message: 'request failed', code: 'BZZZ_INTERNAL' })
    log.fatal('no fields')
    expect(last.current()).toMatchObject({ message: 'no fields', code: null })
  })
})
