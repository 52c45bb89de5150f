/**
 * A request written down as pairs of a tag and a plain value. Two lists of them are equal if and only if what
 * they describe is: a tag tells what may follow, so that a list can be read in one way only.
 *
 * Absent and `undefined` fields are the same, and so are 0 and -0. The order of an object's keys counts (a JSON Schema steers
 * what is generated first), except for the names of providers and of their options.
 */
import { hash } from "node:crypto"
import * as Predicate from "effect/Predicate"
import type * as Prompt from "effect/ai/Prompt"
import type { LlmRequest, ResponseFormat, Tool } from "../LlmRequest.ts"

export interface Pairs {
  /** A tag is one character; a value that is no string, number, boolean, `null` or `undefined` is refused later. */
  readonly put: (tag: string, value: unknown) => void
  /** A value that is sent as JSON, in which the order of keys counts. */
  readonly json: (value: unknown) => void
}

/** Thrown for a value whose JSON may hide a difference (`Date`, `Map`, a class, a function) or that has none (a cycle). */
export const unencodable = new Error("A value of the request is neither JSON nor the bytes or URL of a file")

export const settings = (pairs: Pairs, request: LlmRequest): void => {
  given(pairs, "l", request.maxOutputTokens)
  given(pairs, "t", request.temperature)
  given(pairs, "p", request.topP)
  given(pairs, "s", request.seed)
  given(pairs, "e", request.reasoningEffort)
  if (request.stop !== undefined) list(pairs, "h", request.stop)
  choice(pairs, request.toolChoice)
  options(pairs, request.providerOptions)
}

const given = (pairs: Pairs, tag: string, value: unknown): void => {
  if (value !== undefined) pairs.put(tag, value)
}

/** Any of the texts may be missing, which is no text. */
export const list = (pairs: Pairs, tag: string, texts: ReadonlyArray<string | undefined>): void => {
  pairs.put(tag, texts.length)
  for (const text of texts) pairs.put(".", text)
}

const choice = (pairs: Pairs, wanted: LlmRequest["toolChoice"]): void => {
  if (typeof wanted !== "object") return given(pairs, "c", wanted)
  if ("tool" in wanted) return pairs.put("C", wanted.tool)
  list(pairs, "O", wanted.oneOf)
  given(pairs, "k", wanted.mode)
}

export const tool = (pairs: Pairs, { description, name, parameters, strict }: Tool): void => {
  pairs.put("n", name)
  given(pairs, "d", description)
  given(pairs, "s", strict)
  pairs.json(parameters)
}

export const format = (pairs: Pairs, wanted: ResponseFormat): void => {
  pairs.put("f", wanted.type)
  if (wanted.type !== "json") return
  pairs.put("n", wanted.name)
  given(pairs, "d", wanted.description)
  given(pairs, "s", wanted.strict)
  pairs.json(wanted.schema)
}

export const message = (pairs: Pairs, { content, options: own, role }: Prompt.Message): void => {
  pairs.put("r", role)
  options(pairs, own)
  if (typeof content === "string") pairs.put("t", content)
  else parts(pairs, content)
}

const parts = (pairs: Pairs, content: ReadonlyArray<Prompt.Part>): void => {
  pairs.put("#", content.length)
  for (const one of content) part(pairs, one)
}

const part = (pairs: Pairs, one: Prompt.Part): void => {
  pairs.put("p", one.type)
  options(pairs, one.options)
  switch (one.type) {
    case "text":
    case "reasoning":
      return pairs.put("t", one.text)
    case "file":
      pairs.put("m", one.mediaType)
      given(pairs, "n", one.fileName)
      return data(pairs, one.data)
    case "tool-call":
      pairs.put("i", one.id)
      pairs.put("n", one.name)
      pairs.put("x", one.providerExecuted)
      return pairs.json(one.params)
    case "tool-result":
      pairs.put("i", one.id)
      pairs.put("n", one.name)
      pairs.put("x", one.providerExecuted)
      pairs.put("f", one.isFailure)
      pairs.json(one.result)
      return one.modelOutput && parts(pairs, one.modelOutput)
    case "tool-approval-request":
      pairs.put("a", one.approvalId)
      return pairs.put("i", one.toolCallId)
    case "tool-approval-response":
      pairs.put("a", one.approvalId)
      pairs.put("y", one.approved)
      return given(pairs, "w", one.reason)
    default:
      throw unencodable // a kind of part that this version does not know
  }
}

const data = (pairs: Pairs, value: Prompt.FilePart["data"]): void => {
  if (value instanceof Uint8Array) pairs.put("b", hash("sha256", value, "base64url"))
  else if (value instanceof URL) pairs.put("u", value.href)
  else pairs.put("t", value)
}

/** Options of providers, by name. None at all are as good as no field. */
const options = (pairs: Pairs, own: Prompt.ProviderOptions | undefined): void => {
  if (own === undefined) return
  const names = sortedKeys(own)
  if (names.length === 0) return
  pairs.put("o", names.length)
  for (const name of names) {
    const value = own[name]
    pairs.put("k", name)
    if (Predicate.isObject(value)) fields(pairs, value)
    else pairs.json(value)
  }
}

const fields = (pairs: Pairs, own: { readonly [name: string]: unknown }): void => {
  const names = sortedKeys(own)
  pairs.put("{", names.length)
  for (const name of names) {
    pairs.put("k", name)
    pairs.json(own[name])
  }
}

/** Of the fields that have a value. */
const sortedKeys = (own: { readonly [name: string]: unknown }): ReadonlyArray<string> => {
  if (!isPlain(own)) throw unencodable
  const keys = Object.keys(own)
  return keys.length === 0 ? keys : keys.filter((key) => own[key] !== undefined).sort()
}

/** Whether an object is no more than its fields. */
export const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** How deep objects and lists may lie in each other. */
const deepest = 256

/** Refuses what `JSON.stringify` drops, changes or cannot write; only `undefined` is as good as nothing. */
export const checkJson = (value: unknown, depth = 0): void => {
  if (typeof value === "object" && value !== null) {
    if (depth === deepest) throw unencodable
    if (Array.isArray(value)) for (const item of value) checkJson(item, depth + 1)
    else if (isPlain(value)) for (const field of Object.values(value)) checkJson(field, depth + 1)
    else throw unencodable
  } else if (typeof value === "number" ? !Number.isFinite(value) : isNoJson(typeof value)) throw unencodable
}

const isNoJson = (type: string): boolean => type === "function" || type === "bigint" || type === "symbol"
