import { InvalidRecordError } from '../../shared/errors.ts'
import {
  blobsOf,
  decodeExchanges,
  EXCHANGES_BYTES_MAX,
  EXCHANGES_MEDIA_TYPE,
} from '../../shared/llm/exchange.ts'
import { linkedRoots, type LinkedRootsComponents } from './linked-roots.ts'
import type { RootSource } from './root-source.ts'

/** Requests, responses and price maps of recorded model calls. */
export function exchangeRoots(components: LinkedRootsComponents): RootSource {
  return linkedRoots(components, {
    name: 'exchanges',
    mediaType: EXCHANGES_MEDIA_TYPE,
    bytesMax: EXCHANGES_BYTES_MAX,
    linksOf: (bytes) => {
      try {
        return blobsOf(decodeExchanges(bytes))
      } catch (error) {
        // Somebody called it a batch of exchanges, and it is none: it names nothing.
        if (error instanceof InvalidRecordError) return []
        throw error
      }
    },
  })
}
