/**
 * The one service: something that answers requests. A policy takes one and gives one back, so a bare client and a whole
 * stack of policies look the same to the program.
 *
 * Interrupting a call, or dropping its stream, aborts the request at the provider.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as fromModel from "./internal/fromLanguageModel.ts"
import * as object from "./internal/generateObject.ts"
import * as toModel from "./internal/languageModel.ts"
import { LlmError } from "./LlmError.ts"
import * as LlmRequest from "./LlmRequest.ts"
import type { LlmPart, LlmResponse } from "./LlmResponse.ts"

/** What answers requests, and what the policies must know of it. How long it may take is said by `Timeouts`. */
export interface Service {
  /** Who answers, for example `"openai"`. */
  readonly provider: string
  /** The configured model, for example `"gpt-5-mini"`. */
  readonly model: string
  /** Protocol, origin, organisation and model: the identity in cache keys, circuits, limits and prices. */
  readonly endpoint: string
  /** A digest or name of the API key: circuits opened by a bad key belong to it. Never the key. */
  readonly credential: string
  /** The model's context window in tokens, where it is known: what does not fit one may fit another. */
  readonly contextWindow?: number | undefined
  /** Whether a prompt that ends with a piece of the answer is continued from there (a prefill). */
  readonly continuesAnswers?: boolean | undefined
  /**
   * The guards that its answers have passed, so that a cache outside of them never gives out what passed others. `"caller"`:
   * what they say depends on tenant and user, whose answers are kept apart.
   */
  readonly guards?: { readonly fingerprint: string; readonly scope: "all" | "caller" } | undefined
  /** How this provider wants a schema for structured output to be written, and how its answers are decoded. */
  readonly codecTransformer?: LanguageModel.CodecTransformer | undefined
  /** The whole answer. */
  readonly generate: (request: LlmRequest.LlmRequest) => Effect.Effect<LlmResponse, LlmError>
  /** Ends with a finish part or fails: a stream that was cut off is never an end. */
  readonly stream: (request: LlmRequest.LlmRequest) => Stream.Stream<LlmPart, LlmError>
}

/** The provider that the program asks. `layer` of `OpenAi`, `Anthropic` and `Resilient` make it, policies replace it. */
export class LlmProvider extends Context.Service<LlmProvider, Service>()("ballast/LlmProvider") {}

/** Asks once and waits for the whole answer. A request that breaks a rule fails with `InvalidRequestError`. */
export const generate = (input: LlmRequest.Input): Effect.Effect<LlmResponse, LlmError, LlmProvider> =>
  Effect.flatMap(LlmProvider, (provider) => Effect.flatMap(valid(provider, input), provider.generate))

/** Asks once and gives the parts of the answer as they arrive. */
export const stream = (input: LlmRequest.Input): Stream.Stream<LlmPart, LlmError, LlmProvider> =>
  Stream.unwrap(Effect.flatMap(LlmProvider, (provider) => Effect.map(valid(provider, input), provider.stream)))

const valid = (provider: Service, input: LlmRequest.Input): Effect.Effect<LlmRequest.LlmRequest, LlmError> =>
  Effect.mapError(
    LlmRequest.make(input),
    (reason) => new LlmError({ provider: provider.provider, model: provider.model, reason, phase: "refused" })
  )

/** Only the text of the answer. */
export const generateText = (input: LlmRequest.Input): Effect.Effect<string, LlmError, LlmProvider> =>
  Effect.map(generate(input), (response) => response.text)

/** Only the text of the answer, as it arrives. */
export const streamText = (input: LlmRequest.Input): Stream.Stream<string, LlmError, LlmProvider> =>
  stream(input).pipe(
    Stream.filter((part) => part.type === "text-delta" && part.delta !== ""),
    Stream.map((part) => (part.type === "text-delta" ? part.delta : ""))
  )

/**
 * Asks for a value of a schema. The JSON Schema is sent the way the provider wants it and the answer is decoded with the
 * same codec; an answer that does not fit fails with `InvalidOutputError`, a schema that the provider cannot express with
 * `UnsupportedSchemaError`. A `responseFormat` in the input is replaced.
 */
export const generateObject = <A, E, RD, RE>(
  input: LlmRequest.Input,
  schema: Schema.ConstraintCodec<A, E, RD, RE>,
  options?: { /** Default: the schema's identifier, or `"answer"`. */ readonly name?: string | undefined }
): Effect.Effect<A, LlmError, LlmProvider | RD> =>
  Effect.flatMap(LlmProvider, (provider) =>
    Effect.flatMap(valid(provider, input), (request) => object.generate(provider, request, schema, options?.name))
  )

/** The provider of a layer, for as long as the scope lives. */
export const build = <E, R>(layer: Layer.Layer<LlmProvider, E, R>): Effect.Effect<Service, E, R | Scope.Scope> =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, LlmProvider))

/**
 * A policy over a layer: builds the layer's provider and gives what `f` makes of it. Apply it to a layer rather than
 * stacking layers, which are memoized by reference: two stacks that share a policy layer would share its first provider.
 */
export const transform =
  <E2 = never, R2 = never>(f: (inner: Service) => Service | Effect.Effect<Service, E2, R2>) =>
  <A, E, R>(layer: Layer.Layer<A | LlmProvider, E, R>) =>
    Layer.effect(
      LlmProvider,
      Effect.flatMap(LlmProvider, (inner) => {
        const outer = f(inner)
        return Effect.isEffect(outer) ? outer : Effect.succeed(outer)
      })
    ).pipe(Layer.provideMerge(layer))

/**
 * The `LanguageModel` of `effect/ai`, answered by the provider: an unchanged program with tools, `Chat` and structured
 * output runs on it. Failures are `AiError`s; `LlmError.fromAiError` gives the whole error back.
 *
 * The full prompt is always sent: `ResponseIdTracker` has no effect. Tools that are defined by a provider are refused.
 * Temperature and the like, which `effect/ai` has no field for, are set on the provider.
 */
export const languageModel: Layer.Layer<LanguageModel.LanguageModel, never, LlmProvider> = Layer.fresh(
  Layer.effect(
    LanguageModel.LanguageModel,
    Effect.flatMap(LlmProvider, (provider) => toLanguageModel(provider))
  )
)

/** Like `languageModel`, for a provider at hand. */
export const toLanguageModel = (provider: Service): Effect.Effect<LanguageModel.LanguageModel> => toModel.make(provider)

/**
 * A provider that asks a `LanguageModel`, as every `@effect/ai-*` package makes one. What cannot be passed on
 * (temperature, topP, seed, stop, maxOutputTokens, reasoningEffort, options for this provider, JSON together with tools)
 * fails with an `InvalidRequestError` that names it.
 *
 * A JSON Schema is imported as a Schema: what that cannot express fails with `UnsupportedSchemaError`, properties that
 * the schema does not name are dropped, `strict: false` is ignored. A JSON answer is streamed in one piece.
 */
export const fromLanguageModel = (
  options: LanguageModelOptions
): Layer.Layer<LlmProvider, never, LanguageModel.LanguageModel> =>
  Layer.effect(
    LlmProvider,
    Effect.map(LanguageModel.LanguageModel, (model) => makeFromLanguageModel(model, options))
  )

/** Like `fromLanguageModel`, for a model at hand. Throws a `RangeError` for an empty provider or model. */
export const makeFromLanguageModel = (model: LanguageModel.LanguageModel, options: LanguageModelOptions): Service =>
  fromModel.make(model, options)

/** Who the model passes for. */
export type LanguageModelOptions = fromModel.Options
