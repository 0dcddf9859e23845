/** What the peers' clients send: where in the payload, and how many bytes. */
export const REQUEST_BYTES = 8

export function encodeRequest(start: number, length: number): Buffer {
  const request = Buffer.alloc(REQUEST_BYTES)
  request.writeUInt32BE(start, 0)
  request.writeUInt32BE(length, 4)
  return request
}

/** Cuts what arrives into requests, whatever pieces it comes in. */
export function createRequestReader(): (bytes: Uint8Array) => { start: number; length: number }[] {
  let rest = Buffer.alloc(0)
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    const requests = []
    while (rest.length >= REQUEST_BYTES) {
      requests.push({ start: rest.readUInt32BE(0), length: rest.readUInt32BE(4) })
      rest = rest.subarray(REQUEST_BYTES)
    }
    return requests
  }
}
