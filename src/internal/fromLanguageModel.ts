/**
 * Any `LanguageModel` of `effect/ai` as a provider. What `effect/ai` has no field for is refused by name, never dropped.
 *
 * A JSON response format is imported as a Schema: it is sent as that Schema's JSON Schema, not word for word.
 */
import * as Effect from "effect/Effect"
import * as JsonSchema from "effect/JsonSchema"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import { carriedBy, LlmError, type Phase } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type * as LlmRequest from "../LlmRequest.ts"
import { type LlmPart, LlmResponse, toStreamParts } from "../LlmResponse.ts"
import { harmless } from "./aiErrors.ts"

export interface Options {
  /** Who answers, for example `"google"`. */
  readonly provider: string
  /** The model that the layer was configured with. */
  readonly model: string
  /** The identity in cache keys, circuits and limits. Default: made of provider and model. */
  readonly endpoint?: string | undefined
  /** The name of the account or key. Default: the provider's name. */
  readonly credential?: string | undefined
}

export const make = (model: LanguageModel.LanguageModel, options: Options): Service => {
  for (const field of ["provider", "model"] as const) {
    if (options[field].trim() !== "") continue
    throw new RangeError(`LlmProvider.fromLanguageModel: ${field} must not be empty`)
  }
  const bridge = new Bridge(model, options)
  return {
    provider: options.provider,
    model: options.model,
    endpoint: options.endpoint ?? ["effect-ai", options.provider, options.model].map(encodeURIComponent).join("|"),
    credential: options.credential ?? options.provider,
    generate: (request) => Effect.flatMap(bridge.accept(request), bridge.generate),
    stream: (request) => Stream.unwrap(Effect.map(bridge.accept(request), bridge.stream))
  }
}

const withoutField = ["maxOutputTokens", "temperature", "topP", "seed", "stop", "reasoningEffort"] as const

type Format = Extract<LlmRequest.ResponseFormat, { readonly type: "json" }>

class Bridge {
  private readonly model: LanguageModel.LanguageModel
  private readonly options: Options

  constructor(model: LanguageModel.LanguageModel, options: Options) {
    this.model = model
    this.options = options
  }

  readonly accept = (request: LlmRequest.LlmRequest): Effect.Effect<LlmRequest.LlmRequest, LlmError> => {
    const { provider } = this.options
    const lost = withoutField.find((field) => request[field] !== undefined)
    if (lost !== undefined) return Effect.fail(this.refuse(lost, notPassed))
    if (request.providerOptions?.[provider] !== undefined) {
      return Effect.fail(this.refuse(`providerOptions.${provider}`, notPassed))
    }
    const callsTools = (request.tools ?? []).length > 0 && request.toolChoice !== "none"
    return request.responseFormat?.type === "json" && callsTools
      ? Effect.fail(this.refuse("responseFormat", "must not be json where tools may be called: effect/ai cannot do both"))
      : Effect.succeed(request)
  }

  readonly generate = (request: LlmRequest.LlmRequest): Effect.Effect<LlmResponse, LlmError> => {
    const format = request.responseFormat
    const content =
      format?.type === "json"
        ? this.object(request, format)
        : Effect.map(this.model.generateText(asked(request)), (response) => response.content)
    return content.pipe(
      Effect.flatMap((parts) => encodeParts(parts.map(asEncoded))),
      Effect.map((parts) => new LlmResponse({ provider: this.options.provider, model: this.options.model, parts })),
      Effect.mapError((error) => this.fail(error, request, undefined))
    )
  }

  /** The text is written anew from the value: the model may have written it in the form that its own provider asks for. */
  private object(request: LlmRequest.LlmRequest, format: Format) {
    return Effect.gen({ self: this }, function* () {
      const schema = yield* imported(format)
      const response = yield* this.model.generateObject({ ...asked(request), schema, objectName: format.name })
      const text = JSON.stringify(yield* Schema.encodeEffect(schema)(response.value))
      const first = response.content.findIndex((part) => part.type === "text")
      return response.content.flatMap((part, i) =>
        part.type !== "text" ? [part] : i === first ? [{ ...part, text }] : []
      )
    })
  }

  readonly stream = (request: LlmRequest.LlmRequest): Stream.Stream<LlmPart, LlmError> =>
    Stream.suspend(() => {
      let begun = false
      let finished = false
      const see = (parts: ReadonlyArray<LlmPart>) => {
        begun = true
        const failed = parts.find((part) => part.type === "error")
        if (failed !== undefined) return Effect.fail(this.inBand(failed.error, request))
        finished ||= parts.some((part) => part.type === "finish")
        return Effect.succeed(parts)
      }
      return this.parts(request).pipe(
        Stream.mapError((error) => this.fail(error, request, begun ? "answered" : undefined)),
        Stream.mapArrayEffect(see),
        Stream.concat(Stream.suspend(() => (finished ? Stream.empty : Stream.fail(this.truncated()))))
      )
    })

  private parts(request: LlmRequest.LlmRequest) {
    if (request.responseFormat?.type === "json") {
      return Stream.unwrap(Effect.map(this.generate(request), ({ parts }) => Stream.fromIterable(toStreamParts(parts))))
    }
    return this.model
      .streamText(asked(request))
      .pipe(Stream.mapArrayEffect((parts) => encodeStreamParts(parts.map(asEncoded))))
  }

  private inBand(error: unknown, request: LlmRequest.LlmRequest): LlmError {
    if (AiError.isAiError(error) || error instanceof LlmError) return this.fail(error, request, "answered")
    const description = Predicate.hasProperty(error, "message") ? String(error.message) : "the stream carried an error"
    const reason = harmless(new AiError.InternalProviderError({ description }), request)
    return this.error(reason, "answered")
  }

  private truncated(): LlmError {
    const description = "the stream ended without a finish part"
    return this.error(new AiError.InternalProviderError({ description }), "answered")
  }

  private fail(
    error: AiError.AiError | LlmError | Schema.SchemaError | AiError.UnsupportedSchemaError,
    request: LlmRequest.LlmRequest,
    phase: Phase | undefined
  ): LlmError {
    if (error instanceof LlmError) return error
    if (error instanceof AiError.UnsupportedSchemaError) return this.error(error, "refused")
    if (!AiError.isAiError(error)) {
      return this.error(new AiError.InvalidOutputError({ description: "the answer has no encoded form" }), "answered")
    }
    return Option.getOrElse(carriedBy(error), () => this.error(harmless(error.reason, request), phase, error.retryAfter))
  }
}
