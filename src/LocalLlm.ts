/**
 * A stand-in for OpenAI's API on loopback, for examples, demos and tests: it is not a model, and says so.
 *
 * It answers by quoting the messages it is given, the same request always with the same answer, and misbehaves on
 * request. Delays pass by the clock of the layer: under a `TestClock` they wait until the test adjusts it. Node only.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type { Behaviour, RateLimit, RateLimits } from "./internal/localBehaviour.ts"
import { models } from "./internal/localRoutes.ts"
import { type RecordedRequest, run } from "./internal/localServer.ts"
import * as options from "./internal/options.ts"
import type { LlmProvider } from "./LlmProvider.ts"
import * as OpenAi from "./OpenAi.ts"

/** The running stand-in: where it is, what it was asked and how it treats requests. `layer` starts it. */
export class LocalLlm extends Context.Service<
  LocalLlm,
  {
    /** The base URL, `http://127.0.0.1:PORT/v1`. */
    readonly url: string
    /** Treats the next requests so, one step each, then as before; steps that were left are dropped. */
    readonly script: (...steps: ReadonlyArray<Behaviour>) => Effect.Effect<void>
    /** Treats every request so from now on, where no script is running; `undefined` ends it. */
    readonly behave: (behaviour: Behaviour | undefined) => Effect.Effect<void>
    /** The last 1,000 requests that came whole, oldest first, as far as 64 MiB of bodies go. */
    readonly requests: Effect.Effect<ReadonlyArray<RecordedRequest>>
  }
>()("ballast/LocalLlm") {}

export {
  answer,
  errorAfter,
  garbage,
  hang,
  hangAfter,
  normal,
  rateLimited,
  resetAfter,
  status,
  toolCall,
  truncateAfter,
  withDelay,
  withHeaders,
  withRateLimits,
  withRetryAfter
} from "./internal/localBehaviour.ts"

export type { Behaviour, RateLimit, RateLimits, RecordedRequest }

/** Where the server listens, and how fast it is. */
export interface Options {
  /** An integer up to 65,535. Default `0`: any free port. */
  readonly port?: number | undefined
  /** The pause between two events of a stream. Default none. */
  readonly chunkDelay?: Duration.Input | undefined
}

/** The server, for as long as the layer lives; closing it ends every connection at once. A port in use is a defect. */
export const layer = (settings: Options = {}): Layer.Layer<LocalLlm> => {
  const port = options.between(
    "LocalLlm.layer: port",
    options.integer("LocalLlm.layer: port", settings.port ?? 0, 0),
    0,
    65_535
  )
  const chunkDelay = Duration.millis(options.millis("LocalLlm.layer: chunkDelay", settings.chunkDelay ?? 0))
  return Layer.effect(
    LocalLlm,
    Effect.map(run(port, chunkDelay), ({ port, ...service }) => ({ url: `http://127.0.0.1:${port}/v1`, ...service }))
  )
}

/** A provider that asks this server through the `openai` client, and the server itself. */
export const layerProvider = (options?: Options): Layer.Layer<LlmProvider | LocalLlm> =>
  clientOf(options, (settings) => OpenAi.layer({ ...settings, model: models[0], name: "local" }))

/** Embeddings by this server through the `openai` client, and the server itself: 256 dimensions that no model made. */
export const layerEmbeddings = (options?: Options): Layer.Layer<EmbeddingModel.EmbeddingModel | LocalLlm> =>
  clientOf(options, (settings) => OpenAi.embeddings({ ...settings, model: models[1] }))

const clientOf = <A>(
  options: Options | undefined,
  client: (settings: { readonly apiKey: Redacted.Redacted; readonly baseUrl: string }) => Layer.Layer<A>
): Layer.Layer<A | LocalLlm> =>
  Layer.unwrap(Effect.map(LocalLlm, ({ url }) => client({ apiKey: Redacted.make("local"), baseUrl: url }))).pipe(
    Layer.provideMerge(layer(options))
  )

/** The other provider where the `Config` variable is set and not empty (an API key, say), else this stand-in. */
export const layerUnless = <E, R>(
  variable: string,
  other: Layer.Layer<LlmProvider, E, R>
): Layer.Layer<LlmProvider, E | Config.ConfigError, R> =>
  Layer.unwrap(
    Effect.map(Config.option(Config.Redacted(variable)), (key): Layer.Layer<LlmProvider, E, R> =>
      Option.isSome(key) && Redacted.value(key.value).trim() !== "" ? other : layerProvider()
    )
  )
