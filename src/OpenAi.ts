/**
 * Chat completions and embeddings of OpenAI and of every server that speaks its protocol, through the `openai` package
 * (7.57 or later, an optional peer).
 *
 * It asks once: retries, deadlines and limits are policies. Interrupting a call, or leaving its stream, closes the
 * connection. Reasoning of earlier turns is not sent, since chat completions takes none.
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as OpenAiStructuredOutput from "effect/ai/OpenAiStructuredOutput"
import type { OpenAI } from "openai"
import { InBandError } from "./internal/callErrors.ts"
import * as Connection from "./internal/connection.ts"
import { endpointId, httpOf, urlOf } from "./internal/http.ts"
import * as Client from "./internal/openaiClient.ts"
import * as vectors from "./internal/openaiEmbeddings.ts"
import { toLlmError } from "./internal/openaiErrors.ts"
import { type Params, paramsUnsafe } from "./internal/openaiRequest.ts"
import { ChunkDecoder, invalidResponse, partsUnsafe, streamPartsUnsafe } from "./internal/openaiResponse.ts"
import { integer } from "./internal/options.ts"
import {
  checkSendable,
  type Configurable,
  fromConfig,
  type ProviderOptions,
  settingsUnsafe
} from "./internal/providerOptions.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { type LlmPart, LlmResponse } from "./LlmResponse.ts"

/** Which model is asked, where and with which key; see `make` for what is refused. */
export interface Options extends ProviderOptions {
  /** With `/v1`, without query, fragment and credentials. Default `"https://api.openai.com/v1"`. */
  readonly baseUrl?: string | undefined
  /** Sent as `openai-organization`, so visible ASCII. Default: none, also where the environment names one. */
  readonly organization?: string | undefined
  /** Sent as `openai-project`, in the same way. */
  readonly project?: string | undefined
  /** The provider's name in errors, receipts and `providerOptions`. Default `"openai"`. */
  readonly name?: string | undefined
}

/** The provider; impossible options throw a `RangeError`, a missing `openai` package is a defect. */
export const make = (options: Options): Effect.Effect<LlmProvider.Service> => {
  const settings = checkedUnsafe("OpenAi.make", options)
  const { baseUrl, credential, maxAnswerBytes, model, organization, project, provider } = settings
  const connection = Connection.make({ ...settings, url: urlOf(baseUrl, "/chat/completions"), toLlmError })
  return Effect.map(Client.make(settings), (client) => {
    const paramsOf = (request: LlmRequest) =>
      Effect.try({
        try: () => paramsUnsafe(request, provider, model),
        catch: (cause) =>
          connection.refuse(AiError.isAiErrorReason(cause) ? cause : new AiError.InvalidRequestError({}))
      })
    return {
      provider,
      model,
      endpoint: endpointId("openai", baseUrl, [organization, project], model),
      credential,
      codecTransformer: OpenAiStructuredOutput.toCodecOpenAI,
      generate: (request) =>
        Effect.flatMap(paramsOf(request), (params) =>
          connection.call(request, async (key, signal) => {
            const sent = client.sdk.chat.completions.create(params, client.stated(key, signal))
            const { data, response } = await sent.withResponse()
            return new LlmResponse({ provider, model, parts: partsUnsafe(jsonOf(data, response), httpOf(response)) })
          })
        ),
      stream: (request) =>
        Stream.unwrap(
          Effect.map(paramsOf(request), (params) =>
            connection
              .stream(request, (key, signal) =>
                streamed(client.sdk, params, client.stated(key, signal), maxAnswerBytes)
              )
              .pipe(Stream.flattenIterable)
          )
        )
    }
  })
}

const checkedUnsafe = (owner: string, options: Options) => {
  const { baseUrl = "https://api.openai.com/v1", name = "openai", organization, project } = options
  for (const [field, value] of Object.entries({ organization, project })) {
    if (value !== undefined) checkSendable(`${owner}: ${field}`, value)
  }
  return { ...settingsUnsafe(owner, { ...options, baseUrl, name }), organization, project }
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

async function* streamed(
  sdk: OpenAI,
  params: Params,
  options: OpenAI.RequestOptions,
  maxBytes: number
): AsyncGenerator<ReadonlyArray<LlmPart>> {
  const asked = { stream_options: { include_usage: true }, ...params, stream: true as const }
  const { data, response } = await sdk.chat.completions.create(asked, options).withResponse()
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

/**
 * The same options, any of them as a `Config`. Reads `OPENAI_API_KEY`, and `OPENAI_BASE_URL` where it is set; an empty
 * key and options that can never work are a `ConfigError`.
 */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<LlmProvider.LlmProvider, Config.ConfigError> =>
  Layer.effect(LlmProvider.LlmProvider, fromConfig(options, variables, make))

const variables = { apiKey: "OPENAI_API_KEY", baseUrl: "OPENAI_BASE_URL" }

/** As `Options`, of a model that makes vectors. */
export interface EmbeddingsOptions extends Options {
  /** The length of the vectors, at least 1, for models that can shorten them. Default: the model's own. */
  readonly dimensions?: number | undefined
}

/**
 * An `EmbeddingModel`: at most 2,048 texts go into one request, one request after another. Failures are `AiError`s;
 * `LlmError.fromAiError` gives the whole `LlmError` back. Impossible options throw when the layer is made.
 */
export const embeddings = (options: EmbeddingsOptions): Layer.Layer<EmbeddingModel.EmbeddingModel> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, makeEmbeddings(options))

/** `embeddings` with options like those of `layerConfig`. */
export const embeddingsConfig = (
  options: Configurable<EmbeddingsOptions>
): Layer.Layer<EmbeddingModel.EmbeddingModel, Config.ConfigError> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, fromConfig(options, variables, makeEmbeddings))

const makeEmbeddings = (options: EmbeddingsOptions): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const { dimensions } = options
  const settings = checkedUnsafe("OpenAi.embeddings", options)
  if (dimensions !== undefined) integer("OpenAi.embeddings: dimensions", dimensions, 1)
  const connection = Connection.make({ ...settings, url: urlOf(settings.baseUrl, "/embeddings"), toLlmError })
  return Effect.flatMap(Client.make(settings), (client) => vectors.make(connection, client, settings.model, dimensions))
}
