/**
 * Short-lived answers, shared by the replicas of a function where there is Redis. A cache may
 * forget anything at any time and never fails its caller: an error reads as a miss. What is given
 * out may be the very object that was put in, so nobody changes it.
 */
export interface Cache<Value extends object> {
  get(key: string): Value | undefined | Promise<Value | undefined>
  set(key: string, value: Value, ttlMs: number): void | Promise<void>
  delete(key: string): void | Promise<void>
  close(): Promise<void>
}
