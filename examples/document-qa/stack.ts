/** The model, the embeddings and the stores behind the policies: everything of the toolkit that the service uses. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Option } from "effect"
import { Anthropic, Guard, LlmProvider, OpenAi, Pricing, Resilient, type VectorIndex } from "effect-ballast"
import * as ChromaVectorIndex from "effect-ballast/ChromaVectorIndex"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as SqliteClient from "effect-ballast/SqliteClient"
import * as SqlVectorIndex from "effect-ballast/SqlVectorIndex"
import * as Stores from "effect-ballast/Stores"
import { questionOf } from "./prompt.ts"
import type { Settings } from "./settings.ts"

/** Vectors of documents: an index of their own, since the semantic cache's may forget. */
export class DocumentVectors extends Context.Service<DocumentVectors, VectorIndex.Service>()(
  "document-qa/DocumentVectors"
) {}

/** Who answers, for those who ask how they are, and what the embeddings are of. */
export class Models extends Context.Service<
  Models,
  { readonly providers: ReadonlyArray<LlmProvider.Service>; readonly embeddings: string }
>()("document-qa/Models") {}

/** Most passages of one tenant. */
export const mostPassages = 10_000

export const stack = (settings: Settings) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [first, ...others] = yield* Effect.forEach(providersOf(settings), LlmProvider.build)
      const providers: Providers = [first, ...others]
      const models = { providers, embeddings: embeddingsOf(settings).name }
      return Layer.merge(answering(settings, providers), Layer.succeed(Models, models))
    })
  ).pipe(
    Layer.provideMerge(embedding(settings)),
    Layer.provide(
      Pricing.layerTable({ "local-llm": { input: 2.5, output: 20 }, "local-embeddings": { input: 0.1, output: 0 } })
    ),
    Layer.provideMerge(Layer.merge(stores(settings), vectors(settings))),
    Layer.provideMerge(database(settings))
  )

type Providers = readonly [LlmProvider.Service, ...ReadonlyArray<LlmProvider.Service>]
const given = (provider: LlmProvider.Service) => Layer.succeed(LlmProvider.LlmProvider, provider)

const providersOf = ({ anthropic, anthropicModel, model, openAi }: Settings) => {
  const OpenAI = OpenAi.layerConfig({ model })
  const Claude = Anthropic.layerConfig({ model: anthropicModel })
  if (openAi) return anthropic ? ([OpenAI, Claude] as const) : ([OpenAI] as const)
  return anthropic ? ([Claude] as const) : ([Local] as const)
}

/** It listens on another port each time, and answers are kept by who gave them. */
const Local = LocalLlm.layerProvider({ chunkDelay: "20 millis" }).pipe(
  LlmProvider.transform((inner) => ({ ...inner, endpoint: "local" }))
)

/** The money of answers and embeddings is the same: it counts together under its name. */
const common = ({ usdPerDay, usdPerTenant }: Settings) =>
  ({
    circuitBreaker: {},
    budget: { limits: [{ usd: usdPerDay }, { usd: usdPerTenant, by: "tenant" }] },
    retry: { times: 2, timesBeforeFallback: 1, base: "250 millis", cap: "2 seconds" }
  }) as const

const answering = (settings: Settings, [first, second]: Providers) =>
  Resilient.layer({
    ...common(settings),
    providers: second === undefined ? [given(first)] : [given(first), given(second)],
    timeouts: { total: settings.within, attempt: "30 seconds" },
    rateLimiter: {
      requestsPerMinute: settings.perMinute,
      scopes: [{ by: "tenant", requestsPerMinute: settings.perTenant }],
      maxWait: "2 seconds" // a person waits for it
    },
    telemetry: {},
    inputGuard: { guards: [Guard.maxLength({ characters: 4_000 }), Guard.promptInjection()] },
    cache: { timeToLive: settings.cached, staleIfError: "7 days" },
    // what it guesses is measured before it is given out; only the question is compared, which is the last part
    semanticCache: { mode: settings.semanticCache, embed: questionOf },
    outputGuard: {},
    fallback: {},
    hedge: second && {}
  })

const embeddingsOf = ({ embeddingModel, openAi }: Settings) =>
  openAi ? { provider: "openai", name: embeddingModel } : { provider: "local", name: "local-embeddings" }

const embedding = (settings: Settings) =>
  Resilient.embeddings({
    ...common(settings),
    ...embeddingsOf(settings),
    model: settings.openAi ? OpenAi.embeddingsConfig({ model: settings.embeddingModel }) : LocalLlm.layerEmbeddings(),
    timeouts: { total: settings.within, attempt: "20 seconds" },
    rateLimiter: { requestsPerMinute: settings.perMinute },
    cache: { timeToLive: "1 day" }
  })

/** With Redis for a fleet, whose money is in the database all the same. A command to a Redis that is away fails at once. */
const stores = ({ redis }: Settings) => {
  if (Option.isNone(redis)) return Stores.layerSql()
  const impatient = { disableOfflineQueue: true, commandsQueueMaxLength: 10_000, socket: { connectTimeout: 500 } }
  return Stores.layerRedisSql().pipe(Layer.provide(NodeRedis.layer({ url: redis.value, ...impatient })))
}

const vectors = ({ chroma }: Settings) => {
  const settings = { prefix: "qa", maxEntries: mostPassages, commandTimeout: "5 seconds" } as const
  if (Option.isNone(chroma)) return Layer.effect(DocumentVectors, SqlVectorIndex.make(settings))
  const made = ChromaVectorIndex.make({ url: chroma.value, collection: "qa", allowInsecure: true })
  return Layer.effect(DocumentVectors, made).pipe(Layer.provide(NodeHttpClient.layerUndici))
}

const database = ({ database, folder }: Settings) => {
  if (Option.isSome(database)) return PgClient.layer({ url: database.value })
  const made = Effect.sync(() => mkdirSync(folder, { recursive: true }))
  return Layer.unwrap(Effect.as(made, SqliteClient.layer({ filename: join(folder, "document-qa.sqlite") })))
}
