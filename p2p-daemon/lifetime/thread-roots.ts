import { InvalidMessageError } from '../../shared/errors.ts'
import { HEAD_BYTES_MAX } from '../../shared/thread/constants.ts'
import { decodeHead, THREAD_MEDIA_TYPE } from '../../shared/thread/head.ts'
import { linkedRoots, type LinkedRootsComponents } from './linked-roots.ts'
import type { RootSource } from './root-source.ts'

/**
 * The messages of threads and their contents. Each version of a thread's head lists what it added,
 * so the heads of all versions list everything.
 */
export function threadRoots(components: LinkedRootsComponents): RootSource {
  return linkedRoots(components, {
    name: 'threads',
    mediaType: THREAD_MEDIA_TYPE,
    bytesMax: HEAD_BYTES_MAX,
    linksOf: (bytes) => {
      try {
        const { added, contents } = decodeHead(bytes)
        return [...added, ...contents]
      } catch (error) {
        // Somebody called it a thread, and it is none: it names nothing.
        if (error instanceof InvalidMessageError) return []
        throw error
      }
    },
  })
}
