/** What a model answered: the parts of `effect/ai` in their encoded form, with the questions one usually asks of them. */
import * as Schema from "effect/Schema"
import * as Prompt from "effect/ai/Prompt"
import * as Response from "effect/ai/Response"
import * as receipts from "./internal/receipts.ts"
import type { Receipt } from "./Receipt.ts"

/** One part of a streamed answer. */
export type LlmPart = Response.StreamPartEncoded

/** Tokens as the provider counted them; a count that it did not give is absent, not zero. */
export type Usage = typeof Response.Usage.Encoded

/** Why an answer ended. */
export type FinishReason = Response.FinishReason

/** A whole answer. In logs and JSON it shows its usage, never its text. */
export class LlmResponse {
  /** The provider and the configured model that answered (a fallback is named as itself). */
  readonly provider: string
  readonly model: string
  readonly parts: ReadonlyArray<Response.PartEncoded>
  /** How the answer came about, where telemetry keeps receipts. For that of a stream see `receiptOf`. */
  readonly receipt: Receipt | undefined

  constructor(fields: {
    readonly provider: string
    readonly model: string
    readonly parts: ReadonlyArray<Response.PartEncoded>
    readonly receipt?: Receipt | undefined
  }) {
    this.provider = fields.provider
    this.model = fields.model
    this.parts = fields.parts
    this.receipt = fields.receipt
  }

  /** The whole text of the answer, `""` when there is none. */
  get text(): string {
    return this.textOf("text")
  }

  /** What the model said of its thinking, `""` when it said nothing. */
  get reasoningText(): string {
    return this.textOf("reasoning")
  }

  /** What the program is asked to run. */
  get toolCalls(): ReadonlyArray<Response.ToolCallPartEncoded> {
    return this.parts.filter((part) => part.type === "tool-call")
  }

  /** `"unknown"` when the provider gave none. */
  get finishReason(): FinishReason {
    return this.finish?.reason ?? "unknown"
  }

  /** `noUsage` when the provider gave none. */
  get usage(): Usage {
    return this.finish?.usage ?? noUsage
  }

  /** The part that ended it, `undefined` where it was cut off. */
  get finish(): Response.FinishPartEncoded | undefined {
    return this.parts.find((part) => part.type === "finish")
  }

  private textOf(type: "text" | "reasoning"): string {
    let text = ""
    for (const part of this.parts) if (part.type === type) text += part.text
    return text
  }

  /** Never the answer itself: a response may end up in a log. */
  toJSON(): unknown {
    const { finishReason, model, provider, usage } = this
    return { _tag: "LlmResponse", provider, model, finishReason, usage, textLength: this.text.length }
  }

  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON()
  }
}

/** The receipt of a stream, which its finish part brings along where telemetry keeps receipts. */
export const receiptOf = (part: LlmPart): Receipt | undefined =>
  isSigned(part) ? part.metadata.ballast.receipt : undefined

const isSigned = Schema.is(
  Schema.Struct({
    type: Schema.Literal("finish"),
    metadata: Schema.Struct({ ballast: Schema.Struct({ receipt: receipts.Receipt }) })
  })
)

/** Nothing was counted, which is not the same as zero. */
export const noUsage: Usage = { inputTokens: {}, outputTokens: {} }

/**
 * Whether a reader of the stream would notice the part: text, reasoning, tools, files, sources. Role chunks, metadata
 * and empty deltas are not; providers send them at once and they say nothing about the answer.
 */
export const isVisible = (part: LlmPart): boolean => {
  switch (part.type) {
    case "text-delta":
    case "reasoning-delta":
      return part.delta !== ""
    case "tool-params-start":
    case "tool-call":
    case "tool-result":
    case "file":
    case "source":
      return true
    default:
      return false
  }
}

/** Puts the parts of a stream together as `generate` would have answered them; a text that was cut off is kept. */
export const collectParts = (stream: Iterable<LlmPart>): ReadonlyArray<Response.PartEncoded> => {
  const parts: Array<Response.PartEncoded> = []
  const open = new Map<string, { readonly at: number; readonly type: "text" | "reasoning" }>()
  for (const part of stream) {
    switch (part.type) {
      case "text-start":
      case "reasoning-start": {
        const type = part.type === "text-start" ? "text" : "reasoning"
        open.set(`${type}:${part.id}`, { at: parts.length, type })
        parts.push({ type, text: "", ...metadataOf(part.metadata) })
        break
      }
      case "text-delta":
      case "text-end":
      case "reasoning-delta":
      case "reasoning-end": {
        const block = open.get(`${part.type.startsWith("text") ? "text" : "reasoning"}:${part.id}`)
        const before = block && parts[block.at]
        if (block === undefined || (before?.type !== "text" && before?.type !== "reasoning")) break
        const text = "delta" in part ? before.text + part.delta : before.text
        parts[block.at] = { type: block.type, text, ...metadataOf({ ...before.metadata, ...part.metadata }) }
        break
      }
      case "tool-params-start":
      case "tool-params-delta":
      case "tool-params-end":
      case "error":
        break
      default:
        parts.push(part)
    }
  }
  return parts
}

const metadataOf = (metadata: Response.ProviderMetadata | undefined) =>
  metadata === undefined || Object.keys(metadata).length === 0 ? {} : { metadata }

/** The same answer as a stream would have brought it, every text in one delta. */
export const toStreamParts = (parts: ReadonlyArray<Response.PartEncoded>): ReadonlyArray<LlmPart> =>
  parts.flatMap((part, i): ReadonlyArray<LlmPart> => {
    switch (part.type) {
      case "text":
      case "reasoning": {
        const id = String(i)
        return [
          { type: `${part.type}-start`, id, ...metadataOf(part.metadata) },
          { type: `${part.type}-delta`, id, delta: part.text },
          { type: `${part.type}-end`, id }
        ]
      }
      default:
        return [part]
    }
  })

const decodeParts = Schema.decodeUnknownSync(Schema.Array(Response.Part()))

/** The answer as messages, to be put behind the prompt that it answers. */
export const toPrompt = (response: LlmResponse): Prompt.Prompt => Prompt.fromResponseParts(decodeParts(response.parts))
