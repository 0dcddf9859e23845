import type { Stream } from '@libp2p/interface'

export interface StreamHandlerOptions {
  /** Open streams of this protocol accepted from one peer. */
  inboundMax: number
}

/** The part of the mesh that protocols with streams of their own are built on. */
export interface StreamHost {
  /**
   * A stream to a connected peer, with the protocol agreed on.
   * @throws PeerUnreachableError when there is no connection or the peer does not speak it
   */
  openStream(
    peerId: string,
    protocol: string,
    options: { signal: AbortSignal; outboundMax: number },
  ): Promise<Stream>
  /** Must be called before `start`. What the handler throws is logged; it resets the stream. */
  handleStream(
    protocol: string,
    handler: (stream: Stream, peerId: string) => Promise<void>,
    options: StreamHandlerOptions,
  ): void
}
