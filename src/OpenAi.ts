/**
 * Chat completions and embeddings of OpenAI and of every server that speaks its protocol, through the `openai` package
 * (7.57 or later, an optional peer).
 *
 * It asks once: retries, deadlines and limits are policies. Interrupting a call, or leaving its stream, closes the
 * connection. Reasoning of earlier turns is not sent, since chat completions takes none.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import type { OpenAI } from "openai"
import { checkBaseUrl, exposedHeaders } from "./internal/http.ts"
import { connect, isSendable, keyRule, settingsUnsafe } from "./internal/openaiClient.ts"
import * as vectors from "./internal/openaiEmbeddings.ts"
import { InBandError } from "./internal/openaiErrors.ts"
import { type Params, paramsUnsafe } from "./internal/openaiRequest.ts"
import { ChunkDecoder, invalidResponse, partsUnsafe, streamPartsUnsafe } from "./internal/openaiResponse.ts"
import type { LlmError } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { type LlmPart, LlmResponse } from "./LlmResponse.ts"

export interface Options {
  readonly model: string
  /** An effect is run for each call, so that keys can rotate. */
  readonly apiKey: Redacted.Redacted | Effect.Effect<Redacted.Redacted, LlmError>
  /** Names the key in circuits. Default: a digest of the key, `"rotating"` where the key is an effect. */
  readonly credentialId?: string | undefined
  /** Default `"https://api.openai.com/v1"`. */
  readonly baseUrl?: string | undefined
  /** Allows plain HTTP to other hosts than this one. Default `false`. */
  readonly allowInsecure?: boolean | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /** The provider's name in errors, receipts and `providerOptions`. Default `"openai"`. */
  readonly name?: string | undefined
  /** The longest wait for a whole answer, or for the next part of a stream: a backstop. Default `"10 minutes"`. */
  readonly requestTimeout?: Duration.Input | undefined
  /** The longest answer accepted, in bytes. Default 8 MiB. */
  readonly maxAnswerBytes?: number | undefined
}

/** The provider; impossible options throw a `RangeError`, a missing `openai` package is a defect. */
export const make = (options: Options): Effect.Effect<LlmProvider.Service> => {
  const settings = settingsUnsafe("OpenAi.make", options)
  const { credential, endpoint, maxAnswerBytes, model, provider } = settings
  return Effect.map(connect(settings, "/chat/completions"), (connection) => {
    const paramsOf = (request: LlmRequest) =>
      Effect.try({
        try: () => paramsUnsafe(request, provider, model),
        catch: (cause) =>
          connection.refuse(AiError.isAiErrorReason(cause) ? cause : new AiError.InvalidRequestError({}))
      })
    return {
      provider,
      model,
      endpoint,
      credential,
      codecTransformer: OpenAiStructuredOutput.toCodecOpenAI,
      generate: (request) =>
        Effect.flatMap(paramsOf(request), (params) =>
          connection.call(request, async (client, options) => {
            const { data, response } = await client.chat.completions.create(params, options).withResponse()
            return new LlmResponse({ provider, model, parts: partsUnsafe(jsonOf(data, response), httpOf(response)) })
          })
        ),
      stream: (request) =>
        Stream.unwrap(
          Effect.map(paramsOf(request), (params) =>
            connection
              .stream(request, (client, options) => streamed(client, params, options, maxAnswerBytes))
              .pipe(Stream.flattenIterable)
          )
        )
    }
  })
}

/** `make` as a layer; impossible options throw when the layer is made, not when it is built. */
export const layer = (options: Options): Layer.Layer<LlmProvider.LlmProvider> =>
  Layer.effect(LlmProvider.LlmProvider, make(options))

/** The answer as JSON, or why it is no answer. */
const jsonOf = (data: unknown, response: Response): unknown => {
  if (typeof data === "string" || data === undefined || data === null) throw invalidResponse("it is not JSON")
  const error = typeof data === "object" && "error" in data ? data.error : undefined
  if (error !== undefined && error !== null) throw new InBandError(error, response.headers)
  return data
}

/** What of the response goes into the finish part. */
const httpOf = (response: Response) => ({ status: response.status, headers: exposedHeaders(response.headers) })

async function* streamed(
  client: OpenAI,
  params: Params,
  options: OpenAI.RequestOptions,
  maxBytes: number
): AsyncGenerator<ReadonlyArray<LlmPart>> {
  const asked = { stream_options: { include_usage: true }, ...params, stream: true as const }
  const { data, response } = await client.chat.completions.create(asked, options).withResponse()
  const type = response.headers.get("content-type") ?? ""
  if (type.includes("text/html")) throw invalidResponse("it is a web page")
  if (type.includes("json")) {
    yield streamPartsUnsafe(jsonOf(await response.json(), response), httpOf(response))
    return
  }
  const decoder = new ChunkDecoder(httpOf(response), maxBytes)
  for await (const chunk of data) yield decoder.push(chunk)
  yield decoder.end()
}

/** The same options, any of them as a `Config`. */
export type Configurable<A extends { readonly apiKey: unknown }> = {
  readonly [K in keyof Omit<A, "apiKey">]: A[K] | Config.Config<Exclude<A[K], undefined>>
} & {
  /** Default: the variable `OPENAI_API_KEY`. */
  readonly apiKey?: A["apiKey"] | Config.Config<Redacted.Redacted> | undefined
}

/** Reads `OPENAI_API_KEY`, and `OPENAI_BASE_URL` where it is set; an empty key or a malformed URL is a `ConfigError`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<LlmProvider.LlmProvider, Config.ConfigError> =>
  Layer.effect(LlmProvider.LlmProvider, Effect.flatMap(fromConfig(options), make))

const fromConfig = <A extends Options>(options: Configurable<A>): Effect.Effect<A, Config.ConfigError> => {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const fields = {
    apiKey: Config.Redacted("OPENAI_API_KEY"),
    baseUrl: Config.withDefault(Config.String("OPENAI_BASE_URL"), ""),
    ...Object.fromEntries(given)
  }
  const configs = Object.entries(fields).map(([name, field]) => [
    name,
    Config.isConfig(field) ? field : Config.succeed(field)
  ])
  const all = Config.all(Object.fromEntries(configs)) as Config.Config<A> // field by field what `Configurable` says
  return Effect.flatMap(all, ({ baseUrl = "", ...rest }) => {
    const resolved = { ...rest, ...(baseUrl === "" ? {} : { baseUrl }) } as unknown as A // an empty URL is none
    return Effect.as(checkVariables(resolved), resolved)
  })
}

/** What came from the environment is no programming error: a `ConfigError` that names the variable. */
const checkVariables = ({ allowInsecure, apiKey, baseUrl }: Options): Effect.Effect<void, Config.ConfigError> =>
  Effect.try({
    try: () => {
      if (baseUrl !== undefined) checkBaseUrl("OPENAI_BASE_URL", baseUrl, allowInsecure)
      if (Redacted.isRedacted(apiKey) && !isSendable(Redacted.value(apiKey))) {
        throw new RangeError(`OPENAI_API_KEY ${keyRule}`)
      }
    },
    catch: (cause) => {
      const message = cause instanceof Error ? cause.message : String(cause)
      return new Config.ConfigError(new ConfigProvider.SourceError({ message }))
    }
  })

export interface EmbeddingsOptions extends Options {
  /** The length of the vectors, for models that can shorten them. Default: the model's own. */
  readonly dimensions?: number | undefined
}

/**
 * An `EmbeddingModel`: at most 2,048 texts go into one request, one request after another. Failures are `AiError`s;
 * `LlmError.fromAiError` gives the whole `LlmError` back.
 */
export const embeddings = (options: EmbeddingsOptions): Layer.Layer<EmbeddingModel.EmbeddingModel> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, makeEmbeddings(options))

/** `embeddings` with options like those of `layerConfig`. */
export const embeddingsConfig = (
  options: Configurable<EmbeddingsOptions>
): Layer.Layer<EmbeddingModel.EmbeddingModel, Config.ConfigError> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, Effect.flatMap(fromConfig(options), makeEmbeddings))

const makeEmbeddings = (options: EmbeddingsOptions): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const { dimensions, model } = options
  const settings = settingsUnsafe("OpenAi.embeddings", options)
  if (dimensions !== undefined && !(Number.isSafeInteger(dimensions) && dimensions >= 1)) {
    throw new RangeError(`OpenAi.embeddings: dimensions must be an integer >= 1, got ${dimensions}`)
  }
  return Effect.flatMap(connect(settings, "/embeddings"), (connection) => vectors.make(connection, model, dimensions))
}
