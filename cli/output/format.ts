import { GiB, KiB, MiB } from '../../shared/limits.ts'

/** `0.8 s` */
export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

/** `512 B`, `1.5 MiB` */
export function formatBytes(bytes: number): string {
  if (bytes < KiB) return `${bytes} B`
  if (bytes < MiB) return `${(bytes / KiB).toFixed(1)} KiB`
  if (bytes < GiB) return `${(bytes / MiB).toFixed(1)} MiB`
  return `${(bytes / GiB).toFixed(1)} GiB`
}

/** `45 s`, `12 min`, `3 h`, `8 d` */
export function formatUptime(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** The end of a peer id tells peers apart; the beginning is the same for all. */
export function shortPeerId(peerId: string): string {
  return peerId.length > 8 ? `…${peerId.slice(-8)}` : peerId
}
