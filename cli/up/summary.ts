import type { RunningState } from './running-file.ts'

export interface Summary {
  state: RunningState
  token: string
  tookMs: number
}

/** What a person sees once everything serves: where, with what key, and what to try first. */
export function formatSummary({ state, token, tookMs }: Summary): string {
  const { endpoints, dataDir, tokenFile } = state
  const functions = Object.entries(endpoints.functions)
  const rows = [
    ['gateway', `${endpoints.gateway}   (metrics ${endpoints.metrics}/metrics)`],
    ...functions.map(([name, url]) => [name, `${url}   and ${endpoints.gateway}/function/${name}`]),
    ...endpoints.nodes.map(({ name, http }) => [name, http]),
    ['data', dataDir],
    ['token', `${tokenFile}   (admin)`],
  ] as const
  const width = Math.max(...rows.map(([name]) => name!.length))
  const address = 'me@demo/hello.txt'
  const base = endpoints.functions['resolve'] ?? `${endpoints.gateway}/function/resolve`
  return `
bzzz ${state.version} is ready after ${(tookMs / 1000).toFixed(1)} s. Ctrl-C stops it.

${rows.map(([name, value]) => `  ${name!.padEnd(width)}  ${value}`).join('\n')}

  export BZZZ_TOKEN=${token}

Try:
  curl -H "Authorization: Bearer $BZZZ_TOKEN" -H 'Content-Type: text/plain' \\
       -X PUT --data-binary 'Hello from bzzz.' ${base}/${address}
  curl -H "Authorization: Bearer $BZZZ_TOKEN" ${base}/${address}
  npx bzzz status${dataDirOption(dataDir)}
`
}

/** The commands find a cluster whose data lies in the usual place by themselves. */
function dataDirOption(dataDir: string): string {
  return dataDir.endsWith('/.bzzz') ? '' : ` --data ${dataDir}`
}
