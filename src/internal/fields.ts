/** Reading JSON that a stranger wrote: what is missing or of another type is empty, never an exception. */
import * as Predicate from "effect/Predicate"

export type Fields = Readonly<Record<string, unknown>>

export const objectOf = (value: unknown): Fields => (Predicate.isObject(value) ? value : {})
export const arrayOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "")

/** Of tokens or seconds: a whole number, zero or more. */
export const countOf = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/** The counts that were given. */
export const known = (counts: Readonly<Record<string, number | undefined>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).flatMap(([name, count]) => (count === undefined ? [] : [[name, count]])))
