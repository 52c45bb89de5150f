/** What is kept of an answer, which answers are kept, and how one is given again. */
import * as Schema from "effect/Schema"
import * as Response from "effect/ai/Response"
import { collectParts, isVisible, type LlmPart, LlmResponse, toStreamParts } from "../LlmResponse.ts"
import { answeredBy } from "./flight.ts"

interface By {
  readonly provider: string
  readonly model: string
}

/** An answer as it came: a stream keeps its parts as they were, so that it is replayed part for part. */
export type Stored = By &
  (
    | { readonly version: 1; readonly kind: "stream"; readonly parts: ReadonlyArray<LlmPart> }
    | { readonly version: 1; readonly kind: "whole"; readonly parts: ReadonlyArray<Response.PartEncoded> }
  )

/** The answer of a stream; `undefined` where it must not be kept. */
export const ofStream = (parts: ReadonlyArray<LlmPart>, provider: By): Stored | undefined =>
  isKept(parts, parts.some(isVisible))
    ? { version: 1, kind: "stream", ...answeredBy(parts, provider), parts }
    : undefined

export const ofResponse = ({ model, parts, provider }: LlmResponse): Stored | undefined =>
  isKept(parts, parts.some(hasContent)) ? { version: 1, kind: "whole", provider, model, parts } : undefined

const hasContent = (part: Response.PartEncoded): boolean =>
  part.type === "text" || part.type === "reasoning" ? part.text !== "" : isVisible(part)

/** Only what is finished, says something, and was not made by tools on the provider's side, whose world may have changed. */
const isKept = (parts: ReadonlyArray<LlmPart | Response.PartEncoded>, saysSomething: boolean): boolean => {
  const finish = parts.find((part) => part.type === "finish")
  if (!saysSomething || (finish?.reason !== "stop" && finish?.reason !== "tool-calls")) return false
  return !parts.some(
    (part) =>
      part.type === "error" ||
      part.type === "tool-approval-request" ||
      ((part.type === "tool-call" || part.type === "tool-result") && part.providerExecuted === true)
  )
}

/** What is held in this process is given again and again: it is made ready once. */
const streams = new WeakMap<Stored, ReadonlyArray<LlmPart>>()
const responses = new WeakMap<Stored, LlmResponse>()

/** The same parts, of which the last one says that they come from the cache. */
export const partsOf = (stored: Stored, storedAt: number): ReadonlyArray<LlmPart> => {
  const known = streams.get(stored)
  if (known !== undefined) return known
  const parts = (stored.kind === "stream" ? stored.parts : toStreamParts(stored.parts)).map((part) =>
    part.type === "finish" ? marked(part, stored, storedAt) : part
  )
  streams.set(stored, parts)
  return parts
}

export const responseOf = (stored: Stored, storedAt: number): LlmResponse => {
  const known = responses.get(stored)
  if (known !== undefined) return known
  const { model, provider } = stored
  const parts = (stored.kind === "whole" ? stored.parts : collectParts(stored.parts)).map((part) =>
    part.type === "finish" ? marked(part, stored, storedAt) : part
  )
  const response = new LlmResponse({ provider, model, parts })
  responses.set(stored, response)
  return response
}

const marked = (
  part: Response.FinishPartEncoded,
  { model, provider }: By,
  storedAt: number
): Response.FinishPartEncoded => {
  const { metadata } = part
  return { ...part, metadata: { ...metadata, ballast: { provider, model, cache: "hit", storedAt } } }
}

const shape = Schema.Union([
  Schema.Struct({
    version: Schema.Literal(1),
    kind: Schema.Literal("stream"),
    provider: Schema.String,
    model: Schema.String,
    parts: Schema.Array(Schema.Unknown)
  }),
  Schema.Struct({
    version: Schema.Literal(1),
    kind: Schema.Literal("whole"),
    provider: Schema.String,
    model: Schema.String,
    parts: Schema.Array(Schema.Unknown)
  })
])

const isShaped = Schema.is(shape)
const isStream = Schema.decodeUnknownOption(Schema.Array(Response.StreamPart()))
const isWhole = Schema.decodeUnknownOption(Schema.Array(Response.Part()))

/** What came from outside of this process, if it is what was once kept. */
export const check = (value: unknown): Stored | undefined => {
  if (!isShaped(value)) return undefined
  const decoded = value.kind === "stream" ? isStream(value.parts) : isWhole(value.parts)
  return decoded._tag === "Some" ? (value as Stored) : undefined // parts that can be decoded are encoded ones
}
