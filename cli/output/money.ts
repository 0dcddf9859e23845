const NANO_PER_USD = 1_000_000_000n

/** Dollars in full: `0.000129000`. */
export function formatUsd(nanoUsd: bigint): string {
  const fraction = (nanoUsd % NANO_PER_USD).toString().padStart(9, '0')
  return `${nanoUsd / NANO_PER_USD}.${fraction}`
}

/** For people: `$12.30`, `$0.000129`. */
export function formatMoney(nanoUsd: bigint): string {
  const digits = nanoUsd >= NANO_PER_USD ? 2 : 6
  const unit = 10n ** BigInt(9 - digits)
  const rounded = ((nanoUsd + unit / 2n) / unit) * unit
  return `$${formatUsd(rounded).slice(0, digits - 9)}`
}

/** A share of the largest as blocks, at least one where there is anything. */
export function formatBar(value: bigint, largest: bigint, width: number): string {
  if (value <= 0n || largest <= 0n) return ''
  return '█'.repeat(Math.max(Number((value * BigInt(width)) / largest), 1))
}
