/** Whether only this machine gets to a listener that is bound to the host. */
export function isLoopbackHost(host: string): boolean {
  return host.startsWith('127.') || host === '::1' || host === 'localhost'
}
