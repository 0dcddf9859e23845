/** What a node of the bench is told to do, once for each key. */
export interface Command {
  op: 'dial' | 'put' | 'get' | 'provide' | 'find' | 'peers'
  key: string
}

/** Answers every command of the parent with the time it took, in milliseconds. */
export function serve(
  run: (command: Command) => Promise<void>,
  { peers }: { peers: () => number },
): void {
  process.on('message', (command: Command) => {
    const startedAt = performance.now()
    const done = command.op === 'peers' ? Promise.resolve() : run(command)
    done.then(
      () => {
        const result = command.op === 'peers' ? peers() : performance.now() - startedAt
        process.send?.({ result })
      },
      (error: Error) => process.send?.({ error: error.message }),
    )
  })
  process.once('SIGTERM', () => process.exit(0))
}
