/**
 * Short-lived answers, shared by the replicas of a function where there is Redis. A cache may
 * forget anything at any time and never fails its caller: an error reads as a miss.
 */
export interface Cache {
  get(key: string): Promise<string | undefined>
  set(key: string, value: string, ttlMs: number): Promise<void>
  delete(key: string): Promise<void>
  close(): Promise<void>
}
