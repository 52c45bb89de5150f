/** Requests of every shape, what each says in one canonical text, copies of them, and all that differ from one in one place. */
import { Buffer } from "node:buffer"
import { Schema } from "effect"
import { Prompt } from "effect/ai"
import type { LlmRequest } from "effect-ballast/LlmRequest"

const optional = Schema.optional
const Text = Schema.String
const Json = Schema.Record(Text, Schema.Json)
const few = Schema.isMaxLength(3)

const Tool = Schema.Struct({
  name: Text,
  description: optional(Text),
  parameters: Json,
  strict: optional(Schema.Boolean)
})

const ResponseFormat = Schema.Union([
  Schema.Struct({ type: Schema.Literal("text") }),
  Schema.Struct({
    type: Schema.Literal("json"),
    name: Text,
    schema: Json,
    description: optional(Text),
    strict: optional(Schema.Boolean)
  })
])

const ToolChoice = Schema.Union([
  Schema.Literals(["auto", "none", "required"]),
  Schema.Struct({ tool: Text }),
  Schema.Struct({ mode: optional(Schema.Literals(["auto", "required"])), oneOf: Schema.Array(Text).check(few) })
])

const fields = {
  messages: Schema.Array(Schema.toType(Prompt.Message)).check(few),
  maxOutputTokens: optional(Schema.Int),
  temperature: optional(Schema.Finite),
  topP: optional(Schema.Finite),
  seed: optional(Schema.Int),
  stop: optional(Schema.Array(Text).check(few)),
  reasoningEffort: optional(Schema.Literals(["none", "minimal", "low", "medium", "high", "xhigh"])),
  tools: optional(Schema.Array(Tool).check(few)),
  toolChoice: optional(ToolChoice),
  responseFormat: optional(ResponseFormat),
  providerOptions: optional(Prompt.ProviderOptions)
} satisfies Record<Exclude<keyof LlmRequest, "prompt"> | "messages", unknown>

/** Draws requests that no rule has checked, so that a key has to tell apart even those that are wrong. */
export const Fields = Schema.Struct(fields)

export const requestOf = ({ messages, ...settings }: typeof Fields.Type): LlmRequest => ({
  ...settings,
  prompt: Prompt.fromMessages(messages)
})

/** How the keys of an object count: never, two levels of names deep never, or always. */
type Order = "free" | "names" | "options" | "strict"

const strict = new Set(["params", "result", "parameters", "schema"])
const named = new Set(["options", "providerOptions"])

const orderOf = (key: string, around: Order): Order => {
  if (around === "names") return "options"
  if (around !== "free") return "strict"
  return strict.has(key) ? "strict" : named.has(key) ? "names" : "free"
}

type Fielded = Readonly<Record<string, unknown>>

const isFielded = (value: unknown): value is Fielded =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array || value instanceof URL)

/** The fields that say something. */
const entriesOf = (value: Fielded): ReadonlyArray<readonly [string, unknown]> =>
  Object.entries(value).filter(([key, field]) => !key.startsWith("~effect/") && field !== undefined)

/** Canonical JSON: slow, and without a list of fields, so that it cannot forget one. */
export const canonical = (value: unknown, order: Order = "free"): string => {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString("hex")}`
  if (value instanceof URL) return `url ${JSON.stringify(value.href)}`
  if (Array.isArray(value))
    return `[${value.map((item) => canonical(item, order === "free" ? order : "strict")).join()}]`
  if (!isFielded(value)) return typeof value === "number" ? String(value) : (JSON.stringify(value) ?? "null")
  const entries = entriesOf(value).map(([key, field]) => [key, canonical(field, orderOf(key, order))] as const)
  const told = order === "free" ? entries.filter(([key, text]) => !(named.has(key) && text === "{}")) : entries
  const sorted = order === "strict" ? told : told.toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${sorted.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join()}}`
}

/** The same anew, written as differently as it can be: other objects, other order where it does not count, `undefined`. */
export const rewritten = <A>(value: A, order: Order = "free"): A => {
  // each case makes a value of the kind that it found
  const made = (other: unknown): A => other as A
  if (value instanceof Uint8Array) return made(new Uint8Array(value))
  if (value instanceof URL) return made(new URL(value.href))
  if (Array.isArray(value)) return made(value.map((item) => rewritten(item, order === "free" ? order : "strict")))
  if (!isFielded(value)) return made(typeof value === "string" ? `${value}!`.slice(0, -1) : value)
  const entries = Object.entries(value).map(([key, field]) => [key, rewritten(field, orderOf(key, order))] as const)
  return made(
    Object.fromEntries([...(order === "strict" ? entries : entries.toReversed()), ["not there", undefined] as const])
  )
}

/** Every request that differs from one in one place, and some that only look different. */
export const variants = (request: LlmRequest): ReadonlyArray<LlmRequest> =>
  varied({ ...request, prompt: { content: request.prompt.content } }, "free") as ReadonlyArray<LlmRequest> // of its shape

/** What makes a field what it is: without it there is no request. */
const kept = new Set(["type", "role", "content", "prompt", "oneOf", "tool", "not there"])

const varied = (value: unknown, order: Order): ReadonlyArray<unknown> => {
  if (typeof value === "string")
    return [`${value}x`, `x${value}`, ...(value === "" ? [] : [value.slice(1)]), `${value}\u0000`]
  if (typeof value === "number") return [value + 1, -value, value / 2].filter((other) => !Object.is(other, value))
  if (typeof value === "boolean") return [!value]
  if (value === null) return ["null", 0, false, "", [], {}]
  if (value instanceof URL) return [new URL("?x", value), value.href]
  if (value instanceof Uint8Array)
    return [Uint8Array.of(...value, 0), value.map((byte, i) => (i === 0 ? byte ^ 1 : byte))]
  if (Array.isArray(value)) return variedList(value, order)
  return isFielded(value) ? variedFields(value, order) : []
}

const variedList = (list: ReadonlyArray<unknown>, order: Order): ReadonlyArray<unknown> => [
  ...(list.length > 1 ? [list.toReversed()] : []),
  ...list.flatMap((item, i) => [
    list.toSpliced(i, 1),
    list.toSpliced(i, 0, item),
    ...split(item).map((halves) => list.toSpliced(i, 1, ...halves)),
    ...moved(item, list[i + 1]).map((pair) => list.toSpliced(i, 2, ...pair)),
    ...varied(item, order === "free" ? order : "strict").map((other) => list.with(i, other))
  ])
]

/** One text, or one part with a text, as two. */
const split = (item: unknown): ReadonlyArray<ReadonlyArray<unknown>> => {
  if (typeof item === "string") return [[item.slice(0, 1), item.slice(1)]]
  if (!isFielded(item) || typeof item.text !== "string") return []
  return split(item.text).map((halves) => halves.map((text) => ({ ...item, text })))
}

/** The end of one text moved to the next, the last part of one message to the next. */
const moved = (item: unknown, next: unknown): ReadonlyArray<ReadonlyArray<unknown>> => {
  if (typeof item === "string" && typeof next === "string") return [[item.slice(0, -1), item.slice(-1) + next]]
  if (!isFielded(item) || !isFielded(next)) return []
  const texts = moved(item.text, next.text).map(([a, b]) => [
    { ...item, text: a },
    { ...next, text: b }
  ])
  if (!Array.isArray(item.content) || !Array.isArray(next.content)) return texts
  const content = [...item.content.slice(-1), ...next.content]
  return [
    ...texts,
    [
      { ...item, content: item.content.slice(0, -1) },
      { ...next, content }
    ]
  ]
}

const variedFields = (value: Fielded, order: Order): ReadonlyArray<unknown> => {
  const entries = Object.entries(value).filter(([key]) => !key.startsWith("~effect/"))
  const lists = [entries.toReversed()]
  for (const [i, [key, field]] of entries.entries()) {
    const free = order === "free"
    if (!free || !kept.has(key)) lists.push(entries.toSpliced(i, 1))
    if (!free) lists.push(entries.with(i, [`${key}x`, field]))
    if (free && (key === "type" || key === "role")) continue
    for (const other of varied(field, orderOf(key, order))) lists.push(entries.with(i, [key, other]))
  }
  return lists.map((fields) => Object.fromEntries(fields))
}
