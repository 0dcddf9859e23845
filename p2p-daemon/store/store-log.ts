/** The part of a pino logger that the store speaks to. */
export interface StoreLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const NO_STORE_LOG: StoreLog = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
