import { InvalidArgumentError } from 'commander'

/** The value of an option that is a whole number. @throws InvalidArgumentError */
export function integer(text: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const number = Number(text)
  if (text.trim() !== '' && Number.isInteger(number) && number >= min && number <= max) {
    return number
  }
  const range = max === Number.MAX_SAFE_INTEGER ? `, ${min} or more` : ` from ${min} to ${max}`
  throw new InvalidArgumentError(`It is a whole number${range}.`)
}
