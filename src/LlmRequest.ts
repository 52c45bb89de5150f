/**
 * What is asked of a model, as plain immutable data that no provider's dialect has touched.
 *
 * Messages are remembered by identity (cache keys, guard verdicts), so never change one in place: make a new prompt.
 */
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as check from "./internal/requestRules.ts"

/** A request whose fields keep the rules that `make` checks. What is left out is left to the provider. */
export interface LlmRequest {
  /** At least one message with something in it. */
  readonly prompt: Prompt.Prompt
  /** Most tokens the answer may have, reasoning included, at least 1. Default: the provider's own limit. */
  readonly maxOutputTokens?: number | undefined
  /** At least 0. */
  readonly temperature?: number | undefined
  /** From 0 to 1. */
  readonly topP?: number | undefined
  /** An integer, for providers that can repeat an answer. */
  readonly seed?: number | undefined
  /** Texts that end the answer, none of them empty. */
  readonly stop?: ReadonlyArray<string> | undefined
  readonly reasoningEffort?: ReasoningEffort | undefined
  /** Under a name each. */
  readonly tools?: ReadonlyArray<Tool> | undefined
  readonly toolChoice?: ToolChoice | undefined
  readonly responseFormat?: ResponseFormat | undefined
  /** Sent as they are to the provider of that name, for example `{ openai: { service_tier: "flex" } }`. */
  readonly providerOptions?: Prompt.ProviderOptions | undefined
}

/** How much a model thinks first. What a model does not know of it, its provider refuses. */
export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh"

/** What the model may ask the program to run. */
export interface Tool {
  readonly name: string
  readonly description?: string | undefined
  /** JSON Schema of the arguments; the order of its properties steers the order in which they are generated. */
  readonly parameters: JsonSchema.JsonSchema
  /** Whether the provider is to enforce the schema. Default: as the provider does. */
  readonly strict?: boolean | undefined
}

/** Which tools an answer calls: as the model likes, none, any, this one, or any of these (`mode`: `"auto"` by default). */
export type ToolChoice =
  | "auto"
  | "none"
  | "required"
  | { readonly tool: string }
  | { readonly mode?: "auto" | "required" | undefined; readonly oneOf: ReadonlyArray<string> }

/** Text, which is the default, or JSON of a schema. */
export type ResponseFormat =
  | { readonly type: "text" }
  | {
      readonly type: "json"
      readonly name: string
      readonly schema: JsonSchema.JsonSchema
      readonly description?: string | undefined
      /** Ask the provider to enforce the schema. Default `true`. */
      readonly strict?: boolean | undefined
    }

/** The same fields with the prompt in any form `effect/ai` takes: a string, messages, or a `Prompt`. */
export interface Fields extends Omit<LlmRequest, "prompt"> {
  readonly prompt: Prompt.RawInput
}

/** Whatever can become a request; a bare string is one user message. */
export type Input = string | Fields

/** A request, or the field that is wrong and the rule that it breaks. */
export const make = (input: Input): Effect.Effect<LlmRequest, AiError.InvalidRequestError> =>
  Effect.fromResult(fromInput(input))

const fromInput = (input: Input): Result.Result<LlmRequest, AiError.InvalidRequestError> => {
  const fields: Fields = typeof input === "string" ? { prompt: input } : input
  return Result.flatMap(check.prompt(fields.prompt), (prompt) => {
    const request: LlmRequest = { ...fields, prompt }
    const violation = check.options(request)
    return violation === undefined ? Result.succeed(request) : Result.fail(violation)
  })
}

/** Like `make`, for requests written in code: throws the `InvalidRequestError`. */
export const makeUnsafe = (input: Input): LlmRequest => Result.getOrThrow(fromInput(input))

/**
 * A retrieved document for a user message: it comes in a `<document>` element, which its own text cannot close, and is marked,
 * so that guards know it from what the user wrote. Text that is put into a system message instead is not looked at by them.
 */
export const document = (text: string, about: { readonly title?: string | undefined } = {}): Prompt.TextPart => {
  const title = about.title === undefined ? "" : ` title="${about.title.replaceAll(/[<>&"\r\n]/g, " ")}"`
  const body = text.replaceAll(/<(?=\/?document\b)/gi, "&lt;")
  return Prompt.textPart({
    text: `<document${title}>\n${body}\n</document>`,
    options: { ballast: { document: true } }
  })
}

/** The options meant for one provider; none is an empty record. */
export const providerOptions = (
  request: { readonly providerOptions?: Prompt.ProviderOptions | undefined },
  provider: string
): Schema.JsonObject => {
  const options = request.providerOptions?.[provider]
  return typeof options === "object" && options !== null && !Array.isArray(options)
    ? (options as Schema.JsonObject)
    : {}
}
