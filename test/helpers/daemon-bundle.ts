import { symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { build } from 'esbuild'

import { VERSION } from '../../shared/version.ts'

const PROJECT = new URL('../..', import.meta.url)

/** What is loaded at run time: a native build, and what stands in for it. */
const EXTERNAL = ['@napi-rs/blake-hash', 'blake3', 'pg-native']

/** CommonJS packages in the bundle call require. */
const REQUIRE = `import { createRequire as requireFor } from 'node:module'
const require = requireFor(import.meta.url)`

/**
 * The daemon as one file in `dir`: the same source, whose start takes half the processor time.
 * For tests that start it a thousand times.
 */
export async function bundleDaemon(dir: string): Promise<URL> {
  const outfile = join(dir, 'daemon.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('p2p-daemon/main.ts', PROJECT))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: EXTERNAL,
    define: { BZZZ_BUILD_VERSION: JSON.stringify(VERSION) },
    banner: { js: REQUIRE },
    logLevel: 'error',
  })
  // A thread is started from a file beside the code that starts it, so it is a bundle of its own.
  await build({
    entryPoints: [fileURLToPath(new URL('p2p-daemon/store/hash-worker.ts', PROJECT))],
    outfile: join(dir, 'hash-worker.ts'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: EXTERNAL,
    banner: { js: REQUIRE },
    logLevel: 'error',
  })
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  await symlink(fileURLToPath(new URL('node_modules', PROJECT)), join(dir, 'node_modules'))
  return pathToFileURL(outfile)
}
