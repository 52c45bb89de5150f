/** A string or a number that keeps the rules of its schema: found in the text, or else the plainest that fits. */
import type { Finder } from "./localValues.ts"

type Node = Readonly<Record<string, unknown>>

/** What was made, and whether it was found in the text rather than made up. */
export interface Made<A> {
  readonly value: A
  readonly found: boolean
}

/** The field to fill, and whether a value will do that nothing in the text ties to it. */
interface Where {
  readonly field: string
  readonly loose: boolean
}

export const numeric = (u: unknown): number | undefined => (typeof u === "number" ? u : undefined)

export const text = (node: Node, finder: Finder, where: Where): Made<string> => {
  const { field, loose } = where
  const format =
    typeof node["format"] === "string" && Object.hasOwn(formats, node["format"]) ? formats[node["format"]] : undefined
  const pattern = typeof node["pattern"] === "string" ? regExp(node["pattern"]) : undefined
  const min = numeric(node["minLength"]) ?? 0
  const max = numeric(node["maxLength"]) ?? Infinity
  const fits = (value: string): boolean => {
    const length = value.length < min ? value.length : Array.from(value).length // JSON Schema counts code points
    return length >= min && length <= max && (format?.[0].test(value) ?? true) && (pattern?.test(value) ?? true)
  }
  const found =
    shaped(format !== undefined || pattern !== undefined, finder, field, fits) ?? finder.string(field, fits, loose)
  if (found !== undefined) return { value: found, found: true }
  const filler = Array.from(finder.fallback.slice(0, 400) || field || "text")
  const length = Math.min(Math.max(filler.length, min), max, longest)
  const sized = Array.from({ length }, (_, i) => filler[i] ?? "x").join("")
  return { value: [sized, format?.[1] ?? "", ...samples].find(fits) ?? format?.[1] ?? sized, found: false }
}

/** A token of the right form: the schema states it, or the field is called after it (`email`). */
const shaped = (isStated: boolean, finder: Finder, field: string, fits: (value: string) => boolean) => {
  if (isStated) return finder.token(fits)
  const named = Object.hasOwn(formats, field) ? formats[field] : undefined
  return named && finder.token((token) => fits(token) && named[0].test(token))
}

/** A schema may ask for any length; this much is given. */
const longest = 100_000

/** A pattern that no engine reads is no rule. */
const regExp = (pattern: string): RegExp | undefined => {
  try {
    return new RegExp(pattern, "u")
  } catch {
    return undefined
  }
}

const formats: Readonly<Record<string, readonly [RegExp, string]>> = {
  "date-time": [/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/, "2024-01-01T00:00:00.000Z"],
  date: [/^\d{4}-\d\d-\d\d$/, "2024-01-01"],
  time: [/^\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?$/, "00:00:00Z"],
  duration: [/^P(?=.)[\dYMWDTHS.]+$/, "P1D"],
  email: [/^[^\s@]+@[^\s@]+\.[^\s@]+$/, "someone@example.com"],
  uri: [/^[a-z][a-z\d+.-]*:\/\/\S+$/i, "https://example.com/"],
  uuid: [/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i, "00000000-0000-4000-8000-000000000000"],
  ipv4: [/^\d{1,3}(?:\.\d{1,3}){3}$/, "127.0.0.1"],
  ipv6: [/^[\da-f:]*::?[\da-f:]*$/i, "::1"],
  hostname: [/^[a-z\d-]+(?:\.[a-z\d-]+)*$/i, "localhost"]
}

/** Tried in turn where a pattern must hold; one that none of them fits is not met. */
const samples = [
  "",
  ..."a A 0 1 -1 text Text TEXT AB ABC abc-123 ABC-123 123 1234 12345 1.0.0 a@b.co #000000 +10000000000 AAAA".split(
    " "
  ),
  ..."2024-01-01 2024-01-01T00:00:00.000Z 00:00 https://example.com/ 01ARZ3NDEKTSV4RRFFQ69G5FAV".split(" "),
  "00000000-0000-4000-8000-000000000000"
]

export const number = (node: Node, finder: Finder, where: Where, isInteger: boolean): Made<number> => {
  const { field, loose } = where
  const least = numeric(node["minimum"]) ?? -Infinity
  const most = numeric(node["maximum"]) ?? Infinity
  const above = numeric(node["exclusiveMinimum"]) ?? -Infinity
  const below = numeric(node["exclusiveMaximum"]) ?? Infinity
  const step = numeric(node["multipleOf"])
  const fits = (value: number): boolean =>
    Number.isFinite(value) &&
    value >= least &&
    value <= most &&
    value > above &&
    value < below &&
    (!isInteger || Number.isInteger(value)) &&
    (step === undefined || Math.abs(value / step - Math.round(value / step)) < 1e-9)
  const found = finder.number(field, fits, loose)
  if (found !== undefined) return { value: found, found: true }
  const low = Math.max(least, above)
  const high = Math.min(most, below)
  const unit = step ?? 1
  const near = [low, Math.ceil(low / unit) * unit, (Math.floor(low / unit) + 1) * unit]
  const under = [high, Math.floor(high / unit) * unit, (Math.ceil(high / unit) - 1) * unit]
  return { value: [0, ...near, ...under, (low + high) / 2].find(fits) ?? 0, found: false }
}
