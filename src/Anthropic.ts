/**
 * Anthropic's Messages API, through the `@anthropic-ai/sdk` package (1.12 or later, an optional peer).
 *
 * It asks once: retries, deadlines and limits are policies. Interrupting a call, or leaving its stream, closes the
 * connection. `temperature` and `topP` are refused unless `apiVersion` is `"2023-06-01"`: later versions of the API know
 * them no more; `seed` is always refused. `reasoningEffort` becomes adaptive thinking, or a budget on models before 4.6.
 *
 * Prompt caching: `options: { anthropic: { cacheControl: { type: "ephemeral" } } }` on a message or part, or
 * `providerOptions: { anthropic: { cache_control, toolOptions: { search: { cacheControl } }, betas: [...] } }`.
 * Thinking comes with its signature in `metadata.anthropic`, and goes back with it in the next turn.
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AnthropicStructuredOutput from "effect/ai/AnthropicStructuredOutput"
import { makeSend, type Send } from "./internal/anthropicClient.ts"
import { toLlmError } from "./internal/anthropicErrors.ts"
import { type Params, toParams } from "./internal/anthropicRequest.ts"
import { EventDecoder, invalidResponse, partsUnsafe, streamPartsUnsafe } from "./internal/anthropicResponse.ts"
import { InBandError } from "./internal/callErrors.ts"
import * as Connection from "./internal/connection.ts"
import { endpointId, httpOf, urlOf } from "./internal/http.ts"
import { integer } from "./internal/options.ts"
import { type Configurable, fromConfig, type ProviderOptions, settingsUnsafe } from "./internal/providerOptions.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { type LlmPart, LlmResponse } from "./LlmResponse.ts"

/** Which model is asked, where and with which key; see `make` for what is refused. */
export interface Options extends ProviderOptions {
  /** Without `/v1`, query, fragment and credentials. Default `"https://api.anthropic.com"`. */
  readonly baseUrl?: string | undefined
  /** The provider's name in errors, receipts and `providerOptions`, beside `anthropic`. Default `"anthropic"`. */
  readonly name?: string | undefined
  /** `"2023-06-01"` still takes `temperature` and `topP`. Default `"2026-10-21"`. */
  readonly apiVersion?: "2026-10-21" | "2023-06-01" | undefined
  /** For requests that do not say, since the API must be told: an integer of at least 1. Default `4096`. */
  readonly maxOutputTokens?: number | undefined
}

/** The provider; impossible options throw a `RangeError`, a missing `@anthropic-ai/sdk` package is a defect. */
export const make = (options: Options): Effect.Effect<LlmProvider.Service> => build("Anthropic.make", options)

/** `make` as a layer. Impossible options throw when it is made, a missing package is a defect when it is built. */
export const layer = (options: Options): Layer.Layer<LlmProvider.LlmProvider> =>
  Layer.effect(LlmProvider.LlmProvider, build("Anthropic.layer", options))

/**
 * The same options, any of them as a `Config`. Reads `ANTHROPIC_API_KEY`, and `ANTHROPIC_BASE_URL` where it is set; an
 * empty key and options that can never work are a `ConfigError`.
 */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<LlmProvider.LlmProvider, Config.ConfigError> =>
  Layer.effect(
    LlmProvider.LlmProvider,
    fromConfig<Options, LlmProvider.Service>(
      options,
      { apiKey: "ANTHROPIC_API_KEY", baseUrl: "ANTHROPIC_BASE_URL" },
      (configured) => build("Anthropic.layerConfig", configured)
    )
  )

const build = (owner: string, options: Options): Effect.Effect<LlmProvider.Service> => {
  const { apiVersion = "2026-10-21", baseUrl = "https://api.anthropic.com", name = "anthropic" } = options
  const settings = settingsUnsafe(owner, { ...options, baseUrl, name })
  const { credential, maxAnswerBytes, model, provider } = settings
  const maxOutputTokens = integer(`${owner}: maxOutputTokens`, options.maxOutputTokens ?? 4096, 1)
  const url = urlOf(settings.baseUrl, "/v1/messages")
  const dialect = { name, model, maxOutputTokens, sampling: apiVersion === "2023-06-01" }
  return Effect.map(makeSend({ ...settings, apiVersion }), (send) => {
    const connection = Connection.make({ ...settings, url, toLlmError })
    const paramsOf = (request: LlmRequest) =>
      Effect.mapError(Effect.fromResult(toParams(request, dialect)), connection.refuse)
    return {
      provider,
      model,
      endpoint: endpointId("anthropic", settings.baseUrl, [], model),
      credential,
      codecTransformer: AnthropicStructuredOutput.toCodecAnthropic,
      generate: (request) =>
        Effect.flatMap(paramsOf(request), (params) =>
          connection.call(request, async (key, signal) => {
            const { data, response } = await send(params, { key, signal, stream: false })
            return new LlmResponse({ provider, model, parts: partsUnsafe(jsonOf(data, response), httpOf(response)) })
          })
        ),
      stream: (request) =>
        Stream.unwrap(
          Effect.map(paramsOf(request), (params) =>
            connection
              .stream(request, (key, signal) => streamed(send, params, key, signal, maxAnswerBytes))
              .pipe(Stream.flattenIterable)
          )
        )
    }
  })
}

async function* streamed(
  send: Send,
  params: Params,
  key: string,
  signal: AbortSignal,
  maxBytes: number
): AsyncGenerator<ReadonlyArray<LlmPart>> {
  const { data, response } = await send(params, { key, signal, stream: true })
  const type = response.headers.get("content-type") ?? ""
  if (type.includes("text/html")) throw invalidResponse("it is a web page")
  if (type.includes("json")) {
    yield streamPartsUnsafe(jsonOf(await response.json(), response), httpOf(response))
    return
  }
  const decoder = new EventDecoder(httpOf(response), maxBytes)
  // the SDK's stream, as asked for
  for await (const event of data as AsyncIterable<unknown>) {
    yield decoder.push(event)
    if (decoder.done) return
  }
  yield decoder.end()
}

/** The answer as JSON, or why it is no answer. */
const jsonOf = (data: unknown, response: Response): unknown => {
  if (typeof data !== "object" || data === null) throw invalidResponse("it is not JSON")
  if ("error" in data && data.error !== null && data.error !== undefined) throw new InBandError(data, response.headers)
  return data
}
