/** The part that is used here: the package brings no types of its own. */
declare module 'cacache' {
  const cacache: {
    put(cache: string, key: string, data: Uint8Array): Promise<{ toString: () => string }>
    get: { byDigest(cache: string, integrity: string): Promise<Buffer> }
  }
  export default cacache
}
