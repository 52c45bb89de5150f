/** One chat completion as LocalLlm answers it, whole or as the events of a stream: the same request, the same answer. */
import { createHash } from "node:crypto"
import { answer, bestSentence, read, type Reading, reasoning, textOf } from "./localReading.ts"
import type { ChatRequest } from "./localRequest.ts"
import { instance } from "./localSchema.ts"
import { type Call, toolCall } from "./localTools.ts"
import * as values from "./localValues.ts"

/** An answer that the script gives instead of one's own. */
export type Scripted = { readonly text: string } | Call

interface Completion {
  readonly id: string
  readonly created: number
  readonly model: string
  readonly reasoning: string
  readonly text: string
  readonly call: (Call & { readonly id: string }) | undefined
  readonly finish: "stop" | "length" | "tool_calls"
  readonly usage: unknown
}

/** Four characters count as one token. */
const charactersPerToken = 4

export const complete = (request: ChatRequest, scripted: Scripted | undefined, created: number): Completion => {
  const reading = read(request.messages)
  const said = scripted ?? toolCall(request, reading) ?? { text: textFor(request, reading) }
  const id = createHash("sha256").update(JSON.stringify(request)).digest("hex").slice(0, 24)
  const limit = charactersPerToken * (request.max_completion_tokens ?? request.max_tokens ?? 128_000)
  const thought = thinks(request) ? reasoning(reading) : ""
  const whole = "text" in said ? untilStop(said.text, request.stop) : said.arguments
  const left = Math.max(0, limit - thought.length)
  const cut = whole.slice(0, left).replace(/[\uD800-\uDBFF]$/, "") // no half of a pair
  const isCut = thought.length > limit || whole.length > left
  return {
    id: `chatcmpl-local-${id}`,
    created,
    model: request.model,
    reasoning: thought.slice(0, limit),
    text: "text" in said ? cut : "",
    call: "text" in said ? undefined : { id: `call_${id}`, name: said.name, arguments: cut },
    finish: isCut ? "length" : "text" in said ? "stop" : "tool_calls",
    usage: usage(request, Math.min(thought.length, limit), cut.length)
  }
}

const thinks = ({ reasoning_effort }: ChatRequest): boolean =>
  reasoning_effort !== undefined && reasoning_effort !== null && reasoning_effort !== "none"

const textFor = (request: ChatRequest, reading: Reading): string => {
  const format = request.response_format
  if (format?.type === "json_schema") {
    return JSON.stringify(instance(format.json_schema.schema, values.make(reading.text, bestSentence(reading))))
  }
  const results = request.messages.slice(request.messages.findLastIndex(({ role }) => role !== "tool") + 1)
  const text = results.length > 0 ? results.map((message) => unquoted(textOf(message))).join("\n") : answer(reading)
  return format?.type === "json_object" ? JSON.stringify({ answer: text }) : text
}

/** A result that is one JSON string is shown without its quotes. */
const unquoted = (text: string): string => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "string" ? value : text
  } catch {
    return text
  }
}

const untilStop = (text: string, stop: ChatRequest["stop"]): string => {
  const stops = (typeof stop === "string" ? [stop] : (stop ?? [])).filter((one) => one !== "")
  return stops.reduce((text, one) => text.split(one, 1)[0] ?? "", text)
}

const usage = (request: ChatRequest, reasoning: number, answer: number) => {
  const count = (characters: number) => Math.ceil(characters / charactersPerToken)
  const prompt = count(request.messages.reduce((sum, message) => sum + textOf(message).length, 0))
  const completion = count(reasoning + answer)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: Math.min(count(reasoning), completion) }
  }
}

const head = ({ created, id, model }: Completion) => ({ id, created, model, system_fingerprint: "local-llm" })

export const whole = (completion: Completion): unknown => {
  const { call, finish, reasoning, text } = completion
  const message = {
    role: "assistant",
    content: call === undefined ? text : null,
    refusal: null,
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(call === undefined ? {} : { tool_calls: [toolCallOf(call)] })
  }
  return {
    ...head(completion),
    object: "chat.completion",
    choices: [{ index: 0, message, logprobs: null, finish_reason: finish }],
    usage: completion.usage
  }
}

const toolCallOf = (call: Call & { readonly id: string }) => ({
  id: call.id,
  type: "function",
  function: { name: call.name, arguments: call.arguments }
})

/** The events of a stream: the role, the words one by one, the finish reason, the usage if it was asked for, the end mark. */
export const events = (completion: Completion, includeUsage: boolean): ReadonlyArray<string> => {
  const { call, finish, reasoning, text } = completion
  const chunk = (choices: ReadonlyArray<unknown>, usage: unknown) =>
    JSON.stringify({
      ...head(completion),
      object: "chat.completion.chunk",
      choices,
      ...(includeUsage ? { usage } : {})
    })
  const choice = (delta: object, finish_reason: string | null) =>
    chunk([{ index: 0, delta, logprobs: null, finish_reason }], null)
  const opening = call && { tool_calls: [{ index: 0, ...toolCallOf({ ...call, arguments: "" }) }] }
  return [
    choice({ role: "assistant", content: call === undefined ? "" : null }, null),
    ...pieces(reasoning).map((piece) => choice({ reasoning_content: piece }, null)),
    ...pieces(text).map((content) => choice({ content }, null)),
    ...(opening === undefined ? [] : [choice(opening, null)]),
    ...pieces(call?.arguments ?? "").map((piece) =>
      choice({ tool_calls: [{ index: 0, function: { arguments: piece } }] }, null)
    ),
    choice({}, finish),
    ...(includeUsage ? [chunk([], completion.usage)] : []),
    "[DONE]"
  ].map(event)
}

/** One server-sent event. */
export const event = (data: string): string => `data: ${data}\n\n`

/** Words with the white space before them, nothing lost; of a very long text several words at a time. */
const pieces = (text: string): ReadonlyArray<string> => {
  const words: ReadonlyArray<string> = text.match(/\s*\S+|\s+$/g) ?? []
  const size = Math.ceil(words.length / maxPieces)
  if (size <= 1) return words
  return Array.from({ length: Math.ceil(words.length / size) }, (_, i) =>
    words.slice(i * size, (i + 1) * size).join("")
  )
}

const maxPieces = 5_000
