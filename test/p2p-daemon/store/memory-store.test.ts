import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { blobStoreSuite } from '../../suites/blob-store.ts'

blobStoreSuite('memory', async () => ({
  store: new MemoryStore(),
  dispose: () => Promise.resolve(),
}))
