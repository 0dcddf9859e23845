import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { blobStoreSuite } from '../../suites/blob-store.ts'
import { makeTempDir } from './temp-dir.ts'

blobStoreSuite('disk', async () => {
  const dir = await makeTempDir()
  return { store: new DiskStore({}, { dataDir: dir.path }), dispose: dir.remove }
})
