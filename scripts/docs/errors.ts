import * as errors from '../../shared/errors.ts'
import { STATUS_BY_CODE } from '../../shared/http/wire-error.ts'

export const file = 'docs/ERRORS.md'

/** What a code tells the caller, and what the caller does about it. One row per code. */
interface Meaning {
  means: string
  act: string
}

const RETRY = 'Try again after `Retry-After`.'

/** Codes that reach a caller over HTTP. */
const ANSWERS: Readonly<Record<string, Meaning>> = {
  BZZZ_ADDRESS_INVALID: {
    means: 'The text is no address.',
    act: 'Correct it: the message names the part, [ADDRESSES](ADDRESSES.md) the grammar.',
  },
  BZZZ_HASH_INVALID: {
    means: 'The text is no BLAKE3 hash.',
    act: 'Send 64 hexadecimal digits.',
  },
  BZZZ_REQUEST_INVALID: {
    means: 'A parameter, header or body is not what the route takes.',
    act: 'Correct the field that the message names.',
  },
  BZZZ_UPLOAD_CUT: {
    means: 'The body ended before its announced length. Nothing was stored.',
    act: 'Send it again; look at the network or the proxy between.',
  },
  BZZZ_HASH_MISMATCH: {
    means: 'The bytes do not have the hash that was announced. Nothing was stored.',
    act: 'Hash the bytes again; they changed on the way or were hashed wrong.',
  },
  BZZZ_RECORD_INVALID: {
    means: 'The signature, key, chain or encoding of a record does not hold.',
    act: 'The record is not used. When one peer sends many, remove it from the allow-list.',
  },
  BZZZ_MESSAGE_INVALID: {
    means: 'A blob that a thread names is no message, or no head of a thread.',
    act: 'Verify the thread: the report names the message. It was not written by this system.',
  },
  BZZZ_THREAD_EXISTS: {
    means: 'There is a thread under this address, and it was not made with this key.',
    act: 'Append to it, or choose another address.',
  },
  BZZZ_NOT_A_THREAD: {
    means: 'The address names other content than a thread.',
    act: 'Choose another address.',
  },
  BZZZ_TOKEN_MISSING: {
    means: 'The route wants a token and there was none.',
    act: 'Send `Authorization: Bearer bzzz_...`.',
  },
  BZZZ_TOKEN_INVALID: {
    means: 'The token is not one that this cluster signed.',
    act: 'Make one with `bzzz token`; check that the node has the current public keys.',
  },
  BZZZ_TOKEN_EXPIRED: { means: 'The token was good once.', act: 'Make a new one.' },
  BZZZ_TOKEN_REVOKED: {
    means: 'The token was taken back.',
    act: 'Ask whoever revoked it; a new one has to be made.',
  },
  BZZZ_SCOPE_MISSING: {
    means: 'The token is good but does not cover this scope or project.',
    act: 'Use a token that names the scope and the project in the message.',
  },
  BZZZ_AUTH_THROTTLED: {
    means: 'More than 60 tokens from this address were refused within a minute.',
    act: 'Wait for `Retry-After`, and correct the token. A good one is let through meanwhile.',
  },
  BZZZ_AUTHOR_NOT_ALLOWED: {
    means: 'The policy of the cluster gives the address to other nodes than the one asked.',
    act: 'Write through one that it names: `bzzz policy show`.',
  },
  BZZZ_ROUTE_NOT_FOUND: {
    means: 'There is no such route.',
    act: 'Check the path and the method.',
  },
  BZZZ_BLOB_NOT_FOUND: {
    means: 'No reachable node holds the blob.',
    act: 'Check the hash; when a node is away, try again once it is back.',
  },
  BZZZ_ADDRESS_NOT_FOUND: {
    means: 'The address was never written, as far as the reachable nodes know.',
    act: 'Search for it; check agent, project and path.',
  },
  BZZZ_VERSION_NOT_FOUND: {
    means: 'The address exists, the version or moment asked for does not.',
    act: 'Ask for the history and take a version of it.',
  },
  BZZZ_NODE_NOT_FOUND: {
    means: 'No member of the cluster has this peer id or name.',
    act: 'Look at `GET /v1/nodes`.',
  },
  BZZZ_AGENT_NOT_FOUND: {
    means:
      'The agent is not known, its lease has run out, or it is registered through another node.',
    act: 'An agent registers again: `PUT /v1/agents/NAME@PROJECT`. Others look at `GET /v1/agents`.',
  },
  BZZZ_FUNCTION_NOT_FOUND: {
    means: 'No function of that name is deployed here.',
    act: 'Look at the list of functions; deploy it.',
  },
  BZZZ_VERSION_CONFLICT: {
    means: 'Somebody else wrote first. `current` in the body is the record that stands.',
    act: 'Look at it, merge, and write again on top of its version.',
  },
  BZZZ_ADDRESS_NOT_FORKED: {
    means: 'A merge was asked for and the address has no fork, or no longer.',
    act: 'Nothing: look at `bzzz conflicts` for what is left.',
  },
  BZZZ_NODE_NOT_DRAINED: {
    means: 'The node still holds copies that are not yet on the nodes that take its place.',
    act: 'Drain it and wait until nothing remains, or force the removal and accept the loss.',
  },
  BZZZ_INVITATION_INVALID: {
    means: 'It is no invitation, or the node named in it did not give it out or withdrew it.',
    act: 'Copy the whole line again, or ask for a new one: `bzzz node invite`.',
  },
  BZZZ_INVITATION_EXPIRED: {
    means: 'The time in which the invitation could be used is over.',
    act: 'Ask for a new one: `bzzz node invite`.',
  },
  BZZZ_INVITATION_USED: {
    means: 'The invitation was good for one node, and another one has used it.',
    act: 'Ask for one of your own. When nobody else was to join, look at `bzzz node ls`.',
  },
  BZZZ_NODE_NAME_TAKEN: {
    means: 'Another member has the name under which the node wants to join.',
    act: 'Start the node under another name in a new data folder: `bzzz up --name`.',
  },
  BZZZ_NODE_ALREADY_MEMBER: {
    means: 'The node has peers that the cluster does not have; clusters are not merged.',
    act: 'Remove it from its cluster first, or join with a new node.',
  },
  BZZZ_NETWORK_KEY_CONFLICT: {
    means: 'The node was configured with another network key than the cluster has.',
    act: 'Give it the key of the cluster, or none: the invitation brings it.',
  },
  BZZZ_BODY_TOO_LARGE: {
    means: 'The body is over the limit of the route.',
    act: 'Send JSON as a command and content as a stream.',
  },
  BZZZ_RANGE_NOT_SATISFIABLE: {
    means: 'The range begins behind the end. `size` in the body is the length.',
    act: 'Ask for a range inside the length.',
  },
  BZZZ_OVERLOADED: {
    means: 'More work came in at once than the limit admits.',
    act: `${RETRY} When it lasts, add a node or raise the limit that the message names.`,
  },
  BZZZ_RATE_LIMIT_EXCEEDED: {
    means: 'A limit of model calls is used up; the message names the rule.',
    act: `${RETRY} It is the time until there is room. See [LLM-LIMITS](LLM-LIMITS.md).`,
  },
  BZZZ_BUDGET_EXCEEDED: {
    means: 'The money of the day or month is spent; the message names the rule.',
    act: 'Raise the budget, or wait for the next period; `Retry-After` reaches to its beginning.',
  },
  BZZZ_LIMITS_UNAVAILABLE: {
    means: 'Where limits of model calls are counted does not answer.',
    act: `${RETRY} Check Redis or Postgres; see [LLM-LIMITS](LLM-LIMITS.md) for another choice.`,
  },
  BZZZ_INTERNAL: {
    means: 'A fault of ours. The answer says nothing about it.',
    act: 'Look up the `requestId` in the log of the process that answered.',
  },
  BZZZ_PROTOCOL_VIOLATION: {
    means: 'A peer sent something its protocol does not allow. The stream was reset.',
    act: 'Compare the releases of both nodes; report it when they are the same.',
  },
  BZZZ_PEER_UNREACHABLE: {
    means: 'A peer that was needed does not answer.',
    act: 'Check that it runs and that its libp2p port can be reached.',
  },
  BZZZ_BLOB_CORRUPT: {
    means: 'Stored bytes lost their hash. The copy is in quarantine and is not served.',
    act: `${RETRY} A replica repairs it. Look at the disk when it happens twice.`,
  },
  BZZZ_QUORUM_NOT_REACHED: {
    means: 'Too few holders acknowledged in time. What was stored stays.',
    act: `${RETRY} The same write again is safe. Check which nodes are away.`,
  },
  BZZZ_PARTITION_MINORITY: {
    means: 'The node is cut off from most others and takes no write that needs them.',
    act: `${RETRY} Write to a node of the other side, or with \`ack=1\`. Reads go on.`,
  },
  BZZZ_DAEMON_UNAVAILABLE: {
    means: 'None of the configured daemons answers.',
    act: 'Start the daemon, or correct `BZZZ_ENDPOINT`.',
  },
  BZZZ_DATABASE_UNAVAILABLE: {
    means: 'Postgres does not answer. What does not need it goes on.',
    act: `${RETRY} Check Postgres and \`DATABASE_URL\`.`,
  },
  BZZZ_AUDIT_UNAVAILABLE: {
    means: 'Audit rows wait for the database and fill their limit. Nothing was done.',
    act: `${RETRY} Check Postgres: reads go on, what has to be written down waits for it.`,
  },
  BZZZ_REDIS_UNAVAILABLE: {
    means: 'Redis does not answer.',
    act: `${RETRY} Check Redis and \`REDIS_URL\`.`,
  },
  BZZZ_QUEUE_UNAVAILABLE: {
    means: 'The server that the jobs lie on does not answer. Jobs taken in before are kept.',
    act: `${RETRY} Send the same \`Idempotency-Key\`, so that the job is taken in once.`,
  },
  BZZZ_JOB_NOT_FOUND: {
    means: 'There is no such job: it never was, was removed, or ended too long ago.',
    act: 'Check the id; finished jobs are kept for a time only, see [JOBS](JOBS.md).',
  },
  BZZZ_JOB_STATE: {
    means: 'The job is not in a state in which this can be done; the message names it.',
    act: 'Look at the job again. Only a failed job is retried.',
  },
  BZZZ_IDEMPOTENCY_MISMATCH: {
    means: 'The idempotency key was used before for another call.',
    act: 'Use a new key for a new call; the same key only to repeat the same one.',
  },
  BZZZ_STORAGE_UNAVAILABLE: {
    means: 'The disk refused a write: full, read-only or broken. Reads go on.',
    act: 'Make room or repair the disk; the log has the error of the system.',
  },
  BZZZ_SHUTTING_DOWN: {
    means: 'The process drains before it stops.',
    act: 'Ask another replica; the client of bzzz does that by itself.',
  },
  BZZZ_PIN_NOT_FOUND: {
    means: 'The blob is not pinned.',
    act: 'Nothing; a record may still keep it, see [LIFETIME](LIFETIME.md).',
  },
  BZZZ_LEASE_NOT_FOUND: {
    means: 'There is no such lease, or it has expired.',
    act: 'Take a new one; if that answers `BZZZ_BLOB_NOT_FOUND`, store the blob again.',
  },
  BZZZ_HOLD_NOT_FOUND: {
    means: 'There is no such hold on collecting, or it has expired.',
    act: 'Take a new one before you go on reading what a collection might delete.',
  },
  BZZZ_GC_RUNNING: {
    means: 'A collection runs on this node; there is one at a time.',
    act: 'Follow it with `GET /v1/gc`, or end it with `DELETE /v1/gc`.',
  },
  BZZZ_GC_HELD: {
    means: 'A hold, a backup as a rule, keeps anything from being deleted.',
    act: 'Wait for its end; `GET /v1/holds` says whose it is. A dry run is possible.',
  },
  BZZZ_QUOTA_EXCEEDED: {
    means: 'The write would take the project over its limit. `quota` in the body says how full.',
    act: 'Raise the limit, see [LIFETIME](LIFETIME.md). All kept versions count.',
  },
  BZZZ_DEPLOYMENT_INVALID: {
    means: 'What the deployment asks for cannot be run here. Nothing was changed.',
    act: 'Read the message: it names the image, the secret or the setting at fault.',
  },
  BZZZ_FUNCTION_UNAVAILABLE: {
    means: 'The function is deployed, and scaled to no replica.',
    act: 'Scale it up; a caller tries again after `Retry-After`.',
  },
  BZZZ_FUNCTION_UNREACHABLE: {
    means: 'The gateway cannot connect to the function, or lost it before an answer began.',
    act: 'Look at the service of the function; its address is in `BZZZ_FUNCTION_URL`.',
  },
  BZZZ_SECRET_EXISTS: {
    means: 'There is a secret of that name.',
    act: 'Update it (`PUT /system/secrets`, `faas-cli secret update`).',
  },
  BZZZ_SECRET_NOT_FOUND: { means: 'There is no secret of that name.', act: 'Create it.' },
  BZZZ_NOT_SUPPORTED: {
    means: 'What runs the functions here cannot do this.',
    act: 'Do it with the platform that runs them.',
  },
  BZZZ_CALLER_LEFT: {
    means: 'Whoever asked closed the connection. Counted as 499 and logged, never sent.',
    act: 'Nothing. Many of them mean that callers give up early: look at their time-outs.',
  },
  BZZZ_MODEL_NOT_FOUND: {
    means: 'No upstream serves a model of that name.',
    act: 'Take a name that `GET /v1/models` lists, or add it: [LLM-PROXY](LLM-PROXY.md).',
  },
  BZZZ_UPSTREAM_MISSING: {
    means: 'The proxy has not been told where models are.',
    act: 'Set `OPENAI_API_KEY_FILE`, `OPENAI_BASE_URL` or `BZZZ_LLM_CONFIG_FILE`: [LLM-PROXY](LLM-PROXY.md).',
  },
  BZZZ_UPSTREAM_UNREACHABLE: {
    means: 'The upstream took no connection, or ended it before the first byte of an answer.',
    act: 'Look whether it runs and at the base URL in the configuration; then try again.',
  },
  BZZZ_UPSTREAM_TIMEOUT: {
    means: 'The upstream was silent for longer than its time-outs allow.',
    act: 'Try again, or give it longer time-outs in the configuration.',
  },
  BZZZ_UPSTREAM_REFUSED: {
    means: 'The upstream refuses the key that the proxy has for it.',
    act: 'Put a good key into its file; it is read again without a restart.',
  },
  BZZZ_UPSTREAM_BROKEN: {
    means: 'The answer of the upstream ended before its end. What was received is not whole.',
    act: 'Ask again. A stream ends with this as an error event.',
  },
  BZZZ_V1_CHUNK_INVALID: {
    means: 'A part of a log of v1 does not hold: the message says where. Nothing of it was taken.',
    act: 'Run the import again from the log; look at the disk when it comes again.',
  },
  BZZZ_V1_IMPORT_NOT_FOUND: {
    means: 'There is no such import, or nothing was imported under that old name.',
    act: '`bzzz migrate v1 status` lists the imports.',
  },
  BZZZ_V1_IMPORT_STATE: {
    means: 'The import runs, or was undone, or is not done yet.',
    act: 'Read the message; `bzzz migrate v1 status` shows the state.',
  },
  BZZZ_FUNCTION_TIMEOUT: {
    means: 'The function took longer than its limit and was cut.',
    act: 'Make it a job (`/async-function/NAME`), or raise its time-out.',
  },
}

/** Codes that end a process while it starts; they stand on stderr, the exit code is 1. */
const STARTS: Readonly<Record<string, Meaning>> = {
  BZZZ_CONFIG_INVALID: {
    means: 'Settings are missing, wrong or unknown: one line each.',
    act: 'Correct all of them; every line names its setting.',
  },
  BZZZ_V1_LOG_NOT_FOUND: {
    means: 'A path names no log of v1.',
    act: 'Name files of NDJSON or JSON, or folders with such files.',
  },
  BZZZ_V1_HYPERCORE_MISSING: {
    means: 'A hypercore is to be read, and the optional packages for it are not installed.',
    act: 'Run `npm install` without `--omit=optional`, or export the core as NDJSON.',
  },
  BZZZ_V1_LOG_BROKEN: {
    means: 'A log of v1 does not hold what was asked of it: the output says which and where.',
    act: 'What stands before the first bad position is good. Look for another copy of the log.',
  },
  BZZZ_V1_TOO_MANY_CHAINS: {
    means: 'One file has more chains than are looked after at once.',
    act: 'Split it: by author, or as it was put together.',
  },
  BZZZ_AUDIT_BROKEN: {
    means: 'An audit row was changed, removed, added or moved: the message names the first.',
    act: 'Compare with a backup, and find out who may write to the database.',
  },
  BZZZ_EXCHANGE_BROKEN: {
    means: 'Something stored of a model call is gone or changed, or its cost is another.',
    act: 'Each line names what; `bzzz blob` tells which nodes hold a hash.',
  },
  BZZZ_DATABASE_OLDER: {
    means: 'The database lacks a migration of this release.',
    act: 'Back it up, then run `bzzz db migrate`, or start with `BZZZ_MIGRATE=true`.',
  },
  BZZZ_DATABASE_NEWER: {
    means: 'The schema of the database is of a newer release.',
    act: 'Start that release again, or restore the backup taken before the update.',
  },
  BZZZ_PORT_IN_USE: {
    means: 'Another program holds the port.',
    act: 'Stop it, or set `BZZZ_PORT_OFFSET`.',
  },
  BZZZ_DATA_FOLDER_FOREIGN: {
    means: 'The data folder holds files that bzzz did not write.',
    act: 'Point `BZZZ_DATA_DIR` to an empty folder or to the right one.',
  },
  BZZZ_DATA_FOLDER_NEWER: {
    means: 'The data folder was written by a newer release.',
    act: 'Start that release again. An older one would not understand it.',
  },
  BZZZ_DATA_FOLDER_UNWRITABLE: {
    means: 'The data folder cannot be written.',
    act: 'Check its owner and whether the disk is mounted read-only.',
  },
  BZZZ_DATA_FOLDER_INCOMPLETE: {
    means: 'Something the data folder is known to hold is gone. Nothing was changed.',
    act: 'Mount what is missing, or restore it from a backup.',
  },
  BZZZ_DATA_FOLDER_LOCKED: {
    means: 'Another process uses the data folder.',
    act: 'Stop the other process; two of them would destroy each other’s writes.',
  },
  BZZZ_PROCESS_START: {
    means: 'A part that `bzzz up` started did not come up.',
    act: 'Its last words are in the message; the rest is in its log.',
  },
}

/** Codes that no class of `shared/errors.ts` carries: any thrown value that nobody expected. */
const WITHOUT_CLASS = ['BZZZ_INTERNAL']

/** Every code a class carries. `RemoteError` has none of its own: it repeats what it was given. */
export function codesOfClasses(): Map<string, string> {
  const codes = new Map<string, string>()
  for (const [name, Class] of Object.entries(errors)) {
    const { code } = Reflect.construct(Class, ['']) as { code?: string }
    if (code) codes.set(code, name)
  }
  return codes
}

/** What does not fit between the classes, the wire table and the meanings, one sentence each. */
export function mismatches(): string[] {
  const classes = codesOfClasses()
  const codes = [...classes.keys(), ...WITHOUT_CLASS]
  const written = [...Object.keys(ANSWERS), ...Object.keys(STARTS)]
  const wire = Object.keys(STATUS_BY_CODE)
  return [
    ...codes
      .filter((code) => !wire.includes(code))
      .map((code) => `${code}: no HTTP status in shared/http/wire-error.ts`),
    ...codes
      .filter((code) => !written.includes(code))
      .map((code) => `${code}: no meaning in scripts/docs/errors.ts`),
    ...wire
      .filter((code) => !codes.includes(code))
      .map((code) => `${code}: a status but no class in shared/errors.ts`),
    ...written
      .filter((code) => !codes.includes(code))
      .map((code) => `${code}: a meaning but no class in shared/errors.ts`),
  ]
}

function rows(cells: readonly (readonly (string | number)[])[]): string {
  return cells.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

export function render(): string {
  const problems = mismatches()
  if (problems.length > 0) throw new Error(problems.join('\n'))
  const classes = codesOfClasses()
  const answers = Object.entries(ANSWERS)
    .map(([code, meaning]) => ({ code, status: STATUS_BY_CODE[code] ?? 500, ...meaning }))
    .toSorted((left, right) => left.status - right.status)
  const starts = Object.entries(STARTS)
  const named = (code: string) => {
    const name = classes.get(code)
    return name === undefined ? `\`${code}\`` : `\`${code}\`<br>${name}`
  }
  const answered = answers.map(({ status, code, means, act }) => [status, named(code), means, act])
  const started = starts.map(([code, { means, act }]) => [named(code), means, act])
  return `# Errors

<!-- Written by \`npm run docs\` from shared/errors.ts, shared/http/wire-error.ts and
scripts/docs/errors.ts. -->

Every error has a code that stays the same from release to release; the message is for people and
may change. Over HTTP the body is

\`\`\`json
{ "error": { "code": "BZZZ_BLOB_NOT_FOUND", "message": "...", "requestId": "..." } }
\`\`\`

with further fields beside \`error\` where the table names them. A fault of the server never has a
4xx status. 429 and 503 carry \`Retry-After\`. An error that one process got from another keeps its
code, so the code names the fault wherever it happened.

## Answers

| status | code | meaning | what to do |
|---|---|---|---|
${rows(answered)}

## At start

These stand on stderr, the process ends with exit code 1.

| code | meaning | what to do |
|---|---|---|
${rows(started)}
`
}
