/** Chat completions as parts: one decoder for streams and whole answers, so that the two cannot disagree. */
import { Buffer } from "node:buffer"
import * as Predicate from "effect/Predicate"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import { collectParts, type LlmPart, type Usage } from "../LlmResponse.ts"
import { arrayOf, countOf, type Fields, known, objectOf, textOf } from "./fields.ts"
import { AnswerTooLarge, type Http } from "./http.ts"

/** A whole answer. Throws the reason why it is none. */
export const partsUnsafe = (body: unknown, http: Http): ReadonlyArray<Response.PartEncoded> =>
  collectParts(streamPartsUnsafe(body, http))

/** A whole answer as the parts of a stream, for servers that answer a stream with plain JSON. */
export const streamPartsUnsafe = (body: unknown, http: Http): ReadonlyArray<LlmPart> => {
  const decoder = new ChunkDecoder(http, Number.POSITIVE_INFINITY)
  return [...decoder.push(asChunk(body)), ...decoder.end()]
}

const asChunk = (body: unknown): unknown => {
  if (!Predicate.isObject(body) || !Array.isArray(body["choices"])) throw invalidResponse("it has no choices")
  const [choice]: ReadonlyArray<unknown> = body["choices"]
  if (choice === undefined) throw new AiError.InternalProviderError({ description: "the answer has no choices" })
  const fields = objectOf(choice)
  if (!Predicate.isObject(fields["message"])) throw invalidResponse("its choice has no message")
  const finishReason = fields["finish_reason"] ?? "unknown"
  return { ...body, choices: [{ index: 0, delta: fields["message"], finish_reason: finishReason }] }
}

export const invalidResponse = (what: string) =>
  new AiError.InvalidResponseError({ description: `the answer is not a chat completion: ${what}` })

interface Call {
  readonly id: string
  name: string
  arguments: string
  /** How much of the arguments was passed on; nothing before the name is known. */
  passedOn: number | undefined
}

/**
 * Turns chunks into parts as they arrive. Only the first choice is read. Tool calls and the finish part come with `end`,
 * since the usage comes last and calls may interleave. Both methods throw the reason of a failure.
 */
export class ChunkDecoder {
  private readonly http: Http
  private readonly maxBytes: number
  private size = 0
  private identified = false
  private blocks = 0
  private block: { readonly type: "text" | "reasoning"; readonly id: string } | undefined
  private readonly calls: Array<Call> = []
  private readonly callAt = new Map<number, Call>()
  private sources = 0
  private finishReason: string | undefined
  private refused = false
  private usage: unknown
  private serviceTier: unknown
  private fingerprint: unknown

  /** `maxBytes` bounds what all chunks together may deliver. */
  constructor(http: Http, maxBytes: number) {
    this.http = http
    this.maxBytes = maxBytes
  }

  push(chunk: unknown): ReadonlyArray<LlmPart> {
    if (!Predicate.isObject(chunk)) throw invalidResponse("a chunk is not an object")
    const parts: Array<LlmPart> = []
    this.identify(chunk, parts)
    this.usage = chunk["usage"] ?? this.usage
    this.serviceTier = chunk["service_tier"] ?? this.serviceTier
    this.fingerprint = chunk["system_fingerprint"] ?? this.fingerprint
    const choice = arrayOf(chunk["choices"])
      .map(objectOf)
      .find((one) => (one["index"] ?? 0) === 0)
    if (choice === undefined) return parts
    const delta = objectOf(choice["delta"])
    this.write("reasoning", textOf(delta["reasoning_content"]) || textOf(delta["reasoning"]), parts)
    this.write("text", textOf(delta["content"]), parts)
    this.refused ||= textOf(delta["refusal"]) !== ""
    for (const annotation of arrayOf(delta["annotations"])) this.cite(objectOf(annotation)["url_citation"], parts)
    for (const [i, call] of arrayOf(delta["tool_calls"]).entries()) this.call(objectOf(call), i, parts)
    this.finishReason = textOf(choice["finish_reason"]) || this.finishReason
    return parts
  }

  end(): ReadonlyArray<LlmPart> {
    if (this.finishReason === undefined) {
      throw new AiError.InternalProviderError({ description: "the stream ended without a finish part" })
    }
    const parts: Array<LlmPart> = []
    const usage = usageOf(this.usage)
    this.close(parts)
    for (const call of this.calls) {
      const { id, name } = call
      if (name === "") throw invalidResponse("a tool call has no name")
      parts.push({ type: "tool-params-end", id }, { type: "tool-call", id, name, params: paramsOf(call, usage) })
    }
    parts.push({
      type: "finish",
      reason: this.reason(this.finishReason),
      usage,
      response: this.http,
      ...this.metadata()
    })
    return parts
  }

  private identify(chunk: Fields, parts: Array<LlmPart>) {
    const id = textOf(chunk["id"])
    if (this.identified || id === "") return
    this.identified = true
    const modelId = textOf(chunk["model"])
    const created = new Date(countOf(chunk["created"]) === undefined ? Number.NaN : Number(chunk["created"]) * 1000)
    parts.push({
      type: "response-metadata",
      id,
      ...(modelId === "" ? {} : { modelId }),
      ...(Number.isNaN(created.getTime()) ? {} : { timestamp: created.toISOString() })
    })
  }

  private write(type: "text" | "reasoning", delta: string, parts: Array<LlmPart>) {
    if (delta === "") return
    this.count(delta)
    if (this.block?.type !== type) {
      this.close(parts)
      this.block = { type, id: String(this.blocks++) }
      parts.push({ type: `${type}-start`, id: this.block.id })
    }
    parts.push({ type: `${type}-delta`, id: this.block.id, delta })
  }

  private close(parts: Array<LlmPart>) {
    if (this.block !== undefined) parts.push({ type: `${this.block.type}-end`, id: this.block.id })
    this.block = undefined
  }

  private call(delta: Fields, position: number, parts: Array<LlmPart>) {
    const index = countOf(delta["index"]) ?? position
    const fn = objectOf(delta["function"])
    const id = textOf(delta["id"])
    let call = this.callAt.get(index)
    // some servers number all calls 0: another id is another call
    if (call === undefined || (id !== "" && id !== call.id)) {
      call = { id: id === "" ? `call_${this.calls.length}` : id, name: "", arguments: "", passedOn: undefined }
      this.calls.push(call)
      this.callAt.set(index, call)
      this.count(`${call.id}{}`)
      this.close(parts)
    }
    const given = fn["arguments"]
    const added = Predicate.isObject(given) ? JSON.stringify(given) : textOf(given)
    this.count(added)
    call.arguments += added
    if (call.name === "") {
      call.name = textOf(fn["name"])
      this.count(call.name)
    }
    if (call.name === "") return
    if (call.passedOn === undefined) parts.push({ type: "tool-params-start", id: call.id, name: call.name })
    const fresh = call.arguments.slice(call.passedOn ?? 0)
    if (fresh !== "") parts.push({ type: "tool-params-delta", id: call.id, delta: fresh })
    call.passedOn = call.arguments.length
  }

  private cite(citation: unknown, parts: Array<LlmPart>) {
    const fields = objectOf(citation)
    const url = textOf(fields["url"])
    if (!URL.canParse(url)) return
    const title = textOf(fields["title"])
    this.count(url + title)
    parts.push({ type: "source", sourceType: "url", id: `source_${this.sources++}`, url, title })
  }

  private count(delivered: string) {
    this.size += Buffer.byteLength(delivered)
    if (this.size > this.maxBytes) throw new AnswerTooLarge(this.maxBytes)
  }

  private reason(given: string): Response.FinishReason {
    if (this.refused) return "content-filter"
    // a call that was forced by name is reported as "stop"
    if (given === "stop" && this.calls.length > 0) return "tool-calls"
    return finishReasons.get(given) ?? "other"
  }

  private metadata() {
    const openai = {
      ...(this.refused ? { refusal: true } : {}),
      ...(typeof this.serviceTier === "string" ? { serviceTier: this.serviceTier } : {}),
      ...(typeof this.fingerprint === "string" ? { systemFingerprint: this.fingerprint } : {})
    }
    return Object.keys(openai).length === 0 ? {} : { metadata: { openai } }
  }
}

const finishReasons: ReadonlyMap<string, Response.FinishReason> = new Map([
  ["stop", "stop"],
  ["length", "length"],
  ["tool_calls", "tool-calls"],
  ["function_call", "tool-calls"],
  ["content_filter", "content-filter"],
  ["error", "error"],
  ["unknown", "unknown"]
])

const paramsOf = (call: Call, usage: Usage): unknown => {
  if (call.arguments.trim() === "") return {}
  try {
    return Tool.unsafeSecureJsonParse(call.arguments)
  } catch {
    throw new AiError.InvalidOutputError({
      description: "the arguments of a tool call are not JSON",
      usage: { promptTokens: usage.inputTokens.total, completionTokens: usage.outputTokens.total }
    })
  }
}

/** Disjoint counts: cached input is not in `uncached`, reasoning is not in `text`. */
const usageOf = (usage: unknown): Usage => {
  const fields = objectOf(usage)
  const input = countOf(fields["prompt_tokens"])
  const output = countOf(fields["completion_tokens"])
  const inputDetails = objectOf(fields["prompt_tokens_details"])
  const cacheRead = countOf(inputDetails["cached_tokens"])
  const cacheWrite = countOf(inputDetails["cache_write_tokens"])
  const reasoning = countOf(objectOf(fields["completion_tokens_details"])["reasoning_tokens"])
  return {
    inputTokens: known({ uncached: rest(input, cacheRead, cacheWrite), total: input, cacheRead, cacheWrite }),
    outputTokens: known({ total: output, text: rest(output, reasoning), reasoning })
  }
}

const rest = (total: number | undefined, ...counts: ReadonlyArray<number | undefined>): number | undefined =>
  total === undefined ? undefined : counts.reduce<number>((left, count) => Math.max(0, left - (count ?? 0)), total)
