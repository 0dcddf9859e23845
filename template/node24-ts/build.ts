import { access, cp, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

import { build } from 'esbuild'

/**
 * Bundles one function inside its build context, which faas-cli lays out as
 *
 *     index.ts build.ts package.json ...   this template
 *     function/handler.ts ...              the handler's folder
 *     function/shared/ ...                 configuration.copy of the stack file
 *
 * Relative imports are written for the repository, so the three are first put where they lie
 * there. Leaves dist/: index.mjs, and node_modules/ with what cannot be bundled.
 */
const context = import.meta.dirname
const workspace = join(context, 'workspace')
const handler = join(workspace, 'functions', 'function', 'handler.ts')
/** Packages with native code: loaded from node_modules at run time, not bundled. */
const NATIVE = ['@napi-rs/blake-hash']

const entry = join(workspace, 'template', 'node24-ts', 'index.ts')

await rm(workspace, { recursive: true, force: true })
await rm(join(context, 'dist'), { recursive: true, force: true })
if (!(await exists('function/handler.ts'))) throw new Error('The handler folder has no handler.ts.')
if (!(await exists('function/shared'))) {
  throw new Error('The stack file must copy ./shared (configuration.copy).')
}
await cp(join(context, 'index.ts'), entry)
await cp(join(context, 'function', 'shared'), join(workspace, 'shared'), { recursive: true })
await cp(join(context, 'function'), join(workspace, 'functions', 'function'), {
  recursive: true,
  // Dependencies come from the template's lock file alone.
  filter: (path) =>
    path !== join(context, 'function', 'shared') && basename(path) !== 'node_modules',
})

const { version } = await readPackage('.')
const { metafile } = await build({
  absWorkingDir: workspace,
  entryPoints: [entry],
  outdir: join(context, 'dist'),
  outExtension: { '.js': '.mjs' },
  bundle: true,
  metafile: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  alias: { 'bzzz-function': handler },
  define: { BZZZ_BUILD_VERSION: JSON.stringify(version) },
  // CommonJS packages inside the bundle ask for Node's own modules.
  banner: {
    js: "import { createRequire as createRequireOf } from 'node:module'; const require = createRequireOf(import.meta.url);",
  },
  // pg-native is an optional driver of pg that nobody here uses.
  external: [...NATIVE, 'pg-native'],
  legalComments: 'linked',
  logLevel: 'warning',
})
await writeFile(join(workspace, 'meta.json'), JSON.stringify(metafile))
for (const name of NATIVE) {
  const { optionalDependencies = {} } = await readPackage(join('node_modules', name))
  await copyPackage(name)
  // Of the prebuilt ones npm has installed those of this platform.
  for (const prebuilt of Object.keys(optionalDependencies)) {
    if (await exists(join('node_modules', prebuilt))) await copyPackage(prebuilt)
  }
}

async function copyPackage(name: string): Promise<void> {
  const path = join('node_modules', name)
  await cp(join(context, path), join(context, 'dist', path), { recursive: true, dereference: true })
}

interface Package {
  version: string
  optionalDependencies?: Record<string, string>
}

async function readPackage(folder: string): Promise<Package> {
  return JSON.parse(await readFile(join(context, folder, 'package.json'), 'utf8')) as Package
}

async function exists(path: string): Promise<boolean> {
  return access(join(context, path)).then(
    () => true,
    () => false,
  )
}
