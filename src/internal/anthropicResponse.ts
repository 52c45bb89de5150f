/** Messages as parts: one decoder for streams and whole answers, so that the two cannot disagree. */
import { Buffer } from "node:buffer"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import { collectParts, type LlmPart } from "../LlmResponse.ts"
import { finishReason, usageOf } from "./anthropicUsage.ts"
import { arrayOf, type Fields } from "./fields.ts"
import { AnswerTooLarge, type Http } from "./http.ts"

/** A whole answer. Throws the reason why it is none. */
export const partsUnsafe = (message: unknown, http: Http): ReadonlyArray<Response.PartEncoded> =>
  collectParts(streamPartsUnsafe(message, http))

/** A whole answer as the parts of a stream, for servers that answer a stream with plain JSON. */
export const streamPartsUnsafe = (message: unknown, http: Http): ReadonlyArray<LlmPart> => {
  if (!Predicate.isObject(message) || !Array.isArray(message["content"])) throw invalidResponse("it has no content")
  const blocks: ReadonlyArray<unknown> = message["content"]
  const decoder = new EventDecoder(http, Number.POSITIVE_INFINITY)
  const delta = { ...message, stop_reason: message["stop_reason"] ?? "unknown" }
  return [
    { type: "message_start", message },
    ...blocks.flatMap((content_block, index) => [
      { type: "content_block_start", index, content_block },
      { type: "content_block_stop", index }
    ]),
    { type: "message_delta", delta },
    { type: "message_stop" }
  ].flatMap((event) => decoder.push(event))
}

export const invalidResponse = (what: string) =>
  new AiError.InvalidResponseError({ description: `the answer is not a message of the Messages API: ${what}` })

interface Block {
  readonly type: "text" | "reasoning" | "tool"
  readonly id: string
  readonly fields: Fields
  /** The arguments of a tool, as far as they came. */
  json: string
  readonly citations: Array<Schema.MutableJson>
  signature: string
}

/** Turns events into parts as they arrive. Its methods throw the reason of a failure. */
export class EventDecoder {
  /** The finish part was given. */
  done = false
  private readonly http: Http
  private readonly maxBytes: number
  private size = 0
  private readonly blocks = new Map<unknown, Block>()
  private readonly toolNames = new Map<string, string>()
  private sources = 0
  private usage: Fields = {}
  private stop: Fields = {}

  /** `maxBytes` bounds what all events together may deliver. */
  constructor(http: Http, maxBytes: number) {
    this.http = http
    this.maxBytes = maxBytes
  }

  push(event: unknown): ReadonlyArray<LlmPart> {
    const fields = objectOf(event, "an event")
    switch (fields["type"]) {
      case "message_start":
        return this.begin(objectOf(fields["message"], "message"))
      case "content_block_start":
        return this.open(fields["index"], objectOf(fields["content_block"], "content_block"))
      case "content_block_delta":
        return this.extend(this.blockAt(fields["index"]), objectOf(fields["delta"], "delta"))
      case "content_block_stop":
        return this.close(fields["index"])
      case "message_delta":
        this.stop = objectOf(fields["delta"], "delta")
        this.count(fields["usage"])
        return []
      case "message_stop":
        return typeof this.stop["stop_reason"] === "string" ? this.end() : []
      default:
        // the API may add kinds of events
        return []
    }
  }

  /** The finish part, for a stream that ended; one that said no reason for its end was cut off. */
  end(): ReadonlyArray<LlmPart> {
    const { stop_details, stop_reason, stop_sequence } = this.stop
    if (typeof stop_reason !== "string") {
      throw new AiError.InternalProviderError({ description: "the stream ended without a finish part" })
    }
    this.done = true
    const category = Predicate.isObject(stop_details) ? stop_details["category"] : undefined
    const anthropic = {
      // it was JSON on the wire
      usage: this.usage as Record<string, Schema.MutableJson>,
      ...(typeof stop_sequence === "string" ? { stopSequence: stop_sequence } : {}),
      ...(typeof category === "string" ? { refusal: category } : {})
    }
    return [
      {
        type: "finish",
        reason: finishReason(stop_reason),
        usage: usageOf(this.usage),
        response: this.http,
        metadata: { anthropic }
      }
    ]
  }

  private begin(message: Fields): ReadonlyArray<LlmPart> {
    this.count(message["usage"])
    return [
      {
        type: "response-metadata",
        ...(typeof message["id"] === "string" ? { id: message["id"] } : {}),
        ...(typeof message["model"] === "string" ? { modelId: message["model"] } : {})
      }
    ]
  }

  private open(index: unknown, fields: Fields): ReadonlyArray<LlmPart> {
    this.grow(JSON.stringify(fields))
    const block = (type: Block["type"], id = String(index)): Block => {
      const opened: Block = { type, id, fields, json: "", citations: [], signature: "" }
      this.blocks.set(index, opened)
      return opened
    }
    switch (fields["type"]) {
      case "text": {
        const { id } = block("text")
        return [
          { type: "text-start", id },
          ...this.text(id, stringOf(fields["text"], "text")),
          ...arrayOf(fields["citations"]).flatMap((citation) => this.cite(this.blockAt(index), citation))
        ]
      }
      case "thinking": {
        const opened = block("reasoning")
        opened.signature = typeof fields["signature"] === "string" ? fields["signature"] : ""
        const delta = stringOf(fields["thinking"], "thinking")
        const start = { type: "reasoning-start" as const, id: opened.id }
        return delta === "" ? [start] : [start, { type: "reasoning-delta", id: opened.id, delta }]
      }
      case "redacted_thinking": {
        const metadata = { anthropic: { redactedData: stringOf(fields["data"], "data") } }
        return [{ type: "reasoning-start", id: block("reasoning").id, metadata }]
      }
      case "tool_use":
      case "server_tool_use": {
        const { id } = block("tool", stringOf(fields["id"], "id"))
        const name = stringOf(fields["name"], "name")
        this.toolNames.set(id, name)
        return [{ type: "tool-params-start", id, name, ...runBy(fields) }]
      }
      default:
        return this.toolResult(fields)
    }
  }

  /** What a tool that the provider ran has found; blocks of other types say nothing that a part could. */
  private toolResult(fields: Fields): ReadonlyArray<LlmPart> {
    const { content, type } = fields
    if (typeof type !== "string" || !type.endsWith("_tool_result")) return []
    const id = stringOf(fields["tool_use_id"], "tool_use_id")
    const inner = Predicate.isObject(content) ? content["type"] : undefined
    return [
      {
        type: "tool-result",
        id,
        name: this.toolNames.get(id) ?? type.replace(/_tool_result$/, ""),
        result: content,
        isFailure: typeof inner === "string" && inner.endsWith("_error"),
        providerExecuted: true,
        metadata: { anthropic: { type } }
      }
    ]
  }

  private extend(block: Block, delta: Fields): ReadonlyArray<LlmPart> {
    const { id } = block
    switch (delta["type"]) {
      case "text_delta":
        return this.text(id, this.grow(stringOf(delta["text"], "text")))
      case "thinking_delta":
        return [{ type: "reasoning-delta", id, delta: this.grow(stringOf(delta["thinking"], "thinking")) }]
      case "signature_delta":
        block.signature += this.grow(stringOf(delta["signature"], "signature"))
        return []
      case "input_json_delta": {
        const json = this.grow(stringOf(delta["partial_json"], "partial_json"))
        block.json += json
        return json === "" ? [] : [{ type: "tool-params-delta", id, delta: json }]
      }
      case "citations_delta":
        this.grow(JSON.stringify(delta))
        return this.cite(block, delta["citation"])
      default:
        return []
    }
  }

  private text(id: string, delta: string): ReadonlyArray<LlmPart> {
    return delta === "" ? [] : [{ type: "text-delta", id, delta }]
  }

  /** Every citation stays with its text; one that has a URL is a source too. */
  private cite(block: Block, citation: unknown): ReadonlyArray<LlmPart> {
    const fields = objectOf(citation, "citation")
    block.citations.push(fields as Record<string, Schema.MutableJson>) // it was JSON on the wire
    const { title, url } = fields
    if (typeof url !== "string") return []
    const id = `source-${this.sources++}`
    return [{ type: "source", sourceType: "url", id, url, title: typeof title === "string" ? title : url }]
  }

  private close(index: unknown): ReadonlyArray<LlmPart> {
    const block = this.blocks.get(index)
    // the blocks that are whole from the start were not kept
    if (block === undefined) return []
    this.blocks.delete(index)
    const { citations, fields, id, signature } = block
    switch (block.type) {
      case "text":
        return [{ type: "text-end", id, ...(citations.length > 0 ? { metadata: { anthropic: { citations } } } : {}) }]
      case "reasoning":
        return [{ type: "reasoning-end", id, ...(signature === "" ? {} : { metadata: { anthropic: { signature } } }) }]
    }
    const name = stringOf(fields["name"], "name")
    const params = paramsOf(block.json === "" ? JSON.stringify(fields["input"] ?? {}) : block.json)
    return [
      { type: "tool-params-end", id },
      { type: "tool-call", id, name, params, ...runBy(fields) }
    ]
  }

  private blockAt(index: unknown): Block {
    const block = this.blocks.get(index)
    if (block === undefined) throw invalidResponse("a delta belongs to no block")
    return block
  }

  /** Counts are cumulative, and an event names only some. */
  private count(usage: unknown): void {
    if (!Predicate.isObject(usage)) return
    this.usage = { ...this.usage, ...Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null)) }
  }

  private grow(text: string): string {
    this.size += Buffer.byteLength(text)
    if (this.size > this.maxBytes) throw new AnswerTooLarge(this.maxBytes)
    return text
  }
}

const objectOf = (value: unknown, what: string): Fields => {
  if (Predicate.isObject(value)) return value
  throw invalidResponse(`${what} is not an object`)
}

const stringOf = (value: unknown, what: string): string => {
  if (typeof value === "string") return value
  throw invalidResponse(`${what} is not a string`)
}

const runBy = (fields: Fields) => (fields["type"] === "server_tool_use" ? { providerExecuted: true } : {})

const paramsOf = (json: string): unknown => {
  try {
    return Tool.unsafeSecureJsonParse(json)
  } catch {
    throw new AiError.InvalidOutputError({ description: "the arguments of a tool call are not JSON" })
  }
}
