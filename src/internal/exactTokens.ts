/** Exact counts from the package `gpt-tokenizer`, made safe for text that strangers wrote. */
import * as Effect from "effect/Effect"
import { needed } from "./optionalPackage.ts"

const missing = needed("Tokens.layerExact", "gpt-tokenizer")

/** As little of the package's types as is used: it may be missing where ours are read. */
interface Counting {
  readonly countTokens: (text: string, options: { readonly disallowedSpecial: Set<string> }) => number
}

/** The encodings of OpenAI's models that can be counted with. */
export type Encoding = "o200k_base" | "o200k_harmony" | "cl100k_base" | "p50k_base" | "r50k_base"

const encodings: Readonly<Record<Encoding, () => Promise<Counting>>> = {
  o200k_base: () => import("gpt-tokenizer/encoding/o200k_base").catch(missing),
  o200k_harmony: () => import("gpt-tokenizer/encoding/o200k_harmony").catch(missing),
  cl100k_base: () => import("gpt-tokenizer/encoding/cl100k_base").catch(missing),
  p50k_base: () => import("gpt-tokenizer/encoding/p50k_base").catch(missing),
  r50k_base: () => import("gpt-tokenizer/encoding/r50k_base").catch(missing)
}

/** A count in time that grows with the length alone. Dies when the package is not installed. */
export const load = (encoding: Encoding): Effect.Effect<(text: string) => number> => {
  const open = Object.hasOwn(encodings, encoding) ? encodings[encoding] : undefined
  if (open === undefined) {
    const known = Object.keys(encodings).join(", ")
    throw new RangeError(`Tokens.layerExact: encoding must be one of ${known}, got ${encoding}`)
  }
  return Effect.promise(open).pipe(
    Effect.map(
      ({ countTokens }) =>
        (text) =>
          inSlices(text, (slice) => countTokens(slice, plain))
    )
  )
}

/** Special tokens in a user's text are text: by default they throw. */
const plain = { disallowedSpecial: new Set<string>() }

/**
 * The package takes time with the square of the longest unbroken passage. So a text is cut: before a space where there is
 * one, which changes next to nothing, or else within a passage, which may count a token more.
 */
const inSlices = (text: string, count: (slice: string) => number): number => {
  let total = 0
  for (let from = 0; from < text.length;) {
    const slice = sliceAt(text, from)
    total += count(slice)
    from += slice.length
  }
  return total
}

const longest = 512

const sliceAt = (text: string, from: number): string => {
  const slice = text.slice(from, from + longest)
  if (from + longest >= text.length) return slice
  const space = slice.lastIndexOf(" ")
  if (space > 0) return slice.slice(0, space)
  return isLowSurrogate(text.charCodeAt(from + longest)) ? slice.slice(0, -1) : slice
}

const isLowSurrogate = (code: number): boolean => code >= 0xdc00 && code <= 0xdfff
