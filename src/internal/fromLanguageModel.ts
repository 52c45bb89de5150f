/**
 * Any `LanguageModel` of `effect/ai` as a provider. What `effect/ai` has no field for is refused by name, never dropped.
 *
 * A JSON response format is imported as a Schema: it is sent as that Schema's JSON Schema, not word for word.
 */
import * as Arr from "effect/Array"
import type * as Duration from "effect/Duration"
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
import * as Toolkit from "effect/ai/Toolkit"
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
    throw new RangeError(`LlmProvider.fromLanguageModel: ${field} must be a string that is not empty, got ""`)
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

/** What `effect/ai` has no field for; a model takes them from its own layer. */
const withoutField = ["maxOutputTokens", "temperature", "topP", "seed", "stop", "reasoningEffort"] as const

class Bridge {
  private readonly model: LanguageModel.LanguageModel
  private readonly options: Options

  constructor(model: LanguageModel.LanguageModel, options: Options) {
    this.model = model
    this.options = options
  }

  readonly accept = (request: LlmRequest.LlmRequest): Effect.Effect<LlmRequest.LlmRequest, LlmError> => {
    const refuse = (parameter: string, constraint: string) =>
      Effect.fail(this.error(new AiError.InvalidRequestError({ parameter, constraint }), "refused"))
    const { provider } = this.options
    const lost = withoutField.find((field) => request[field] !== undefined)
    if (lost !== undefined) return refuse(lost, notPassed)
    if (request.providerOptions?.[provider] !== undefined) return refuse(`providerOptions.${provider}`, notPassed)
    const mayCall = (request.tools ?? []).length > 0 && request.toolChoice !== "none"
    return mayCall && request.responseFormat?.type === "json"
      ? refuse("responseFormat", "must not be json where a tool may be called: effect/ai cannot answer with either")
      : Effect.succeed(request)
  }

  readonly generate = (request: LlmRequest.LlmRequest): Effect.Effect<LlmResponse, LlmError> => {
    const { model, provider } = this.options
    const format = request.responseFormat
    const parts = format?.type === "json" ? this.object(request, format) : this.text(request)
    return Effect.map(parts, (parts) => new LlmResponse({ provider, model, parts }))
  }

  private text(request: LlmRequest.LlmRequest) {
    return this.model.generateText(asked(request)).pipe(
      Effect.mapError((error) => this.fail(error, request)),
      Effect.flatMap((response) => this.written(encodeParts(response.content.map(asEncoded))))
    )
  }

  /** The text is written anew from the value: the model may have written it in the form that its own provider wants. */
  private object(request: LlmRequest.LlmRequest, format: JsonFormat) {
    return Effect.gen({ self: this }, function* () {
      const schema = yield* Effect.try({
        try: () => imported(format),
        catch: (cause) => this.error(unsupportedSchema(cause), "refused")
      })
      const response = yield* Effect.mapError(
        this.model.generateObject({ ...asked(request), schema, objectName: format.name }),
        (error) => this.fail(error, request)
      )
      const text = JSON.stringify(yield* this.written(Schema.encodeEffect(schema)(response.value)))
      const parts = yield* this.written(encodeParts(response.content.map(asEncoded)))
      const first = parts.findIndex((part) => part.type === "text")
      return parts.flatMap((part, i): ReadonlyArray<Response.PartEncoded> =>
        part.type !== "text" ? [part] : i === first ? [{ ...part, text }] : []
      )
    })
  }

  readonly stream = (request: LlmRequest.LlmRequest): Stream.Stream<LlmPart, LlmError> =>
    Stream.suspend(() => {
      let begun = false
      let finished = false
      return this.parts(request).pipe(
        Stream.mapError((error) => this.fail(error, request, begun ? "answered" : undefined)),
        Stream.mapEffect((part) => {
          begun = true
          finished ||= part.type === "finish"
          return part.type === "error" ? Effect.fail(this.inBand(part.error, request)) : Effect.succeed(part)
        }),
        Stream.concat(Stream.suspend(() => (finished ? Stream.empty : Stream.fail(this.truncated()))))
      )
    })

  /** `effect/ai` streams text only: a JSON answer comes in one piece. */
  private parts(request: LlmRequest.LlmRequest): Stream.Stream<LlmPart, AiError.AiError | LlmError> {
    return request.responseFormat?.type === "json"
      ? Stream.unwrap(Effect.map(this.generate(request), ({ parts }) => Stream.fromIterable(toStreamParts(parts))))
      : this.model
          .streamText(asked(request))
          .pipe(Stream.mapArrayEffect((parts) => this.written(encodeStreamParts(Arr.map(parts, asEncoded)))))
  }

  private inBand(error: unknown, request: LlmRequest.LlmRequest): LlmError {
    if (AiError.isAiError(error) || error instanceof LlmError) return this.fail(error, request, "answered")
    const description = Predicate.hasProperty(error, "message") ? String(error.message) : "the stream carried an error"
    return this.error(harmless(new AiError.InternalProviderError({ description }), request), "answered")
  }

  private truncated(): LlmError {
    const description = "the stream ended without a finish part"
    return this.error(new AiError.InternalProviderError({ description }), "answered")
  }

  private written<A>(encoded: Effect.Effect<A, Schema.SchemaError>): Effect.Effect<A, LlmError> {
    return Effect.mapError(encoded, () =>
      this.error(new AiError.InvalidOutputError({ description: "the answer has no encoded form" }), "answered")
    )
  }

  private fail(error: AiError.AiError | LlmError, request: LlmRequest.LlmRequest, phase?: Phase): LlmError {
    if (error instanceof LlmError) return error
    return Option.getOrElse(carriedBy(error), () =>
      this.error(harmless(error.reason, request), phase, error.retryAfter)
    )
  }

  private error(reason: AiError.AiErrorReason, phase: Phase | undefined, retryAfter?: Duration.Duration): LlmError {
    const { model, provider } = this.options
    return new LlmError({ provider, model, reason, phase, retryAfter })
  }
}

const notPassed = "cannot be passed on through effect/ai: set it where the LanguageModel is made"

/** The tools run where the request comes from, so that every call is handed on, also one to a tool nobody declared. */
const asked = (request: LlmRequest.LlmRequest) =>
  ({
    prompt: request.prompt,
    toolkit: toolkitOf(request.tools ?? []),
    toolChoice: choiceOf(request.toolChoice),
    disableToolCallResolution: true,
    toolCallValidation: "deferred"
  }) as const

const choiceOf = (choice: LlmRequest.ToolChoice | undefined) =>
  typeof choice === "object" && "oneOf" in choice ? { ...choice, mode: choice.mode ?? "auto" } : choice

const toolkitOf = (tools: ReadonlyArray<LlmRequest.Tool>): Toolkit.WithHandler<Record<string, DynamicTool>> => ({
  tools: Toolkit.make(...tools.map(toolOf)).tools,
  handle: (name) =>
    Effect.fail(
      AiError.make({
        module: "LlmProvider",
        method: "fromLanguageModel",
        reason: new AiError.InvalidRequestError({
          parameter: "prompt",
          constraint: `must hold the result of the approved call to ${name}: a provider runs no tools`
        })
      })
    )
})

type DynamicTool = ReturnType<typeof dynamic>

const dynamic = (spec: LlmRequest.Tool) =>
  Tool.dynamic(spec.name, {
    description: spec.description,
    parameters: spec.parameters,
    failure: Schema.Unknown,
    failureMode: "return"
  }).annotate(Tool.Strict, spec.strict)

const toolOf = (spec: LlmRequest.Tool): DynamicTool => {
  const tool = tools.get(spec) ?? dynamic(spec)
  tools.set(spec, tool)
  return tool
}

const tools = new WeakMap<LlmRequest.Tool, DynamicTool>()

type JsonFormat = Extract<LlmRequest.ResponseFormat, { readonly type: "json" }>

const imported = ({ description, schema }: JsonFormat) => {
  const open = isComposed(schema)
  const result = SchemaRepresentation.fromJsonSchemaDocument(JsonSchema.fromSchemaDraft2020_12(schema), {
    onEnter: (node) => (open ? node : closed(node))
  })
  const described = description === undefined ? result : result.annotate({ description })
  return described as Schema.Codec<unknown, Record<string, Schema.Json>> // JSON Schema is JSON and needs no services
}

/** Without properties that nobody named: a strict provider refuses them, or asks for a list of pairs instead. */
const closed = (node: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const { additionalProperties = true, properties } = node
  const isOpen = Predicate.isObject(properties) && Object.keys(properties).length > 0 && additionalProperties === true
  return isOpen ? { ...node, additionalProperties: false } : node
}

/** Whether objects are put together with `allOf`, where closing one part would forbid the properties of the others. */
const isComposed = (node: unknown): boolean => {
  if (Array.isArray(node)) return node.some(isComposed)
  if (!Predicate.isObject(node)) return false
  const { allOf, ...rest } = node as Record<string, unknown> // an object has string keys
  const parts: ReadonlyArray<unknown> = Array.isArray(allOf) ? allOf : []
  return (
    parts.some((part) => Predicate.hasProperty(part, "properties") || Predicate.hasProperty(part, "$ref")) ||
    isComposed(parts) ||
    isComposed(Object.values(rest))
  )
}

const unsupportedSchema = (cause: unknown) =>
  new AiError.UnsupportedSchemaError({ description: cause instanceof Error ? cause.message : String(cause) })

const encodeParts = Schema.encodeEffect(Schema.Array(Response.Part()))
const encodeStreamParts = Schema.encodeEffect(Schema.NonEmptyArray(Response.StreamPart()))

/** A tool result has its encoded form beside it, which only its tool's schema could make again. */
const asEncoded = <Part extends Response.AnyPart>(part: Part): Part =>
  part.type === "tool-result" ? { ...part, result: part.encodedResult } : part
