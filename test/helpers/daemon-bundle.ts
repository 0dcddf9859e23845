import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { build } from 'esbuild'

import { VERSION } from '../../shared/version.ts'

const PROJECT = new URL('../..', import.meta.url)

/**
 * What is loaded at run time: a native build, what stands in for it, and what reads its own
 * package.json.
 */
const EXTERNAL = ['@napi-rs/blake-hash', 'blake3', 'pg-native', '@achingbrain/*']

/** CommonJS packages in the bundle call require. */
const REQUIRE = `import { createRequire as requireFor } from 'node:module'
const require = requireFor(import.meta.url)`

/** Each becomes one file; a worker is looked for beside the bundle under its own name. */
const ENTRIES = {
  'daemon.mjs': 'p2p-daemon/main.ts',
  'hash-worker.ts': 'p2p-daemon/store/hash-worker.ts',
}

/**
 * The daemon as one file and its worker in `dir`: the same source, whose start takes half the
 * processor time. For tests that start it a thousand times.
 */
export async function bundleDaemon(dir: string): Promise<URL> {
  for (const [name, entry] of Object.entries(ENTRIES)) {
    await build({
      entryPoints: [fileURLToPath(new URL(entry, PROJECT))],
      outfile: join(dir, name),
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      external: EXTERNAL,
      define: { BZZZ_BUILD_VERSION: JSON.stringify(VERSION) },
      banner: { js: REQUIRE },
      logLevel: 'error',
    })
  }
  await symlink(fileURLToPath(new URL('node_modules', PROJECT)), join(dir, 'node_modules'))
  return pathToFileURL(join(dir, 'daemon.mjs'))
}
