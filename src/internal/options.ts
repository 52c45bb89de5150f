/** Checks of options when a policy is made: what can never work throws a `RangeError` that names the field and the rule. */
import * as Duration from "effect/Duration"

/** A duration in milliseconds, zero or more; `Infinity` is allowed. */
export const millis = (field: string, input: Duration.Input): number => {
  const value = parsed(input)
  if (value >= 0) return value
  throw new RangeError(`${field} must be a duration >= 0, got ${shown(input)}`)
}

/** A duration in milliseconds above zero; `Infinity` is allowed. */
export const positiveMillis = (field: string, input: Duration.Input): number => {
  const value = parsed(input)
  if (value > 0) return value
  throw new RangeError(`${field} must be a duration > 0, got ${shown(input)}`)
}

/** A duration in milliseconds above zero that ends. */
export const finiteMillis = (field: string, input: Duration.Input): number =>
  finite(field, positiveMillis(field, input))

/** A duration in milliseconds, zero or more, that ends. */
export const waitMillis = (field: string, input: Duration.Input): number => finite(field, millis(field, input))

const finite = (field: string, value: number): number => {
  if (Number.isFinite(value)) return value
  throw new RangeError(`${field} must be finite`)
}

/** `NaN` for what is no duration: `Duration` itself takes NaN for zero. */
const parsed = (input: Duration.Input): number => {
  if (typeof input === "number") return input
  try {
    return Duration.toMillis(Duration.fromInputUnsafe(input))
  } catch {
    return Number.NaN
  }
}

const shown = (input: Duration.Input): string => (typeof input === "object" ? JSON.stringify(input) : String(input))

/** A whole number of at least `min`. */
export const integer = (field: string, value: number, min: number): number => {
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new RangeError(`${field} must be an integer >= ${min}, got ${value}`)
}

/** A finite number from `min` to `max`. */
export const between = (field: string, value: number, min: number, max: number): number => {
  if (value >= min && value <= max && Number.isFinite(value)) return value
  throw new RangeError(`${field} must be a number from ${min} to ${max}, got ${value}`)
}
