/** The model, the embeddings and the stores behind the policies: every slot of `Resilient`. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Option } from "effect"
import { Anthropic, Guard, LlmError, OpenAi, Pricing, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as SqliteClient from "effect-ballast/SqliteClient"
import * as Stores from "effect-ballast/Stores"
import { embeddingsOf, type Settings } from "./settings.ts"

const prices = { "local-llm": { input: 2.5, output: 20 }, "local-embeddings": { input: 0.1, output: 0 } }

export const stack = (settings: Settings) =>
  answering(settings).pipe(
    Layer.provideMerge(embedding(settings)),
    Layer.provide(Pricing.layerTable(prices)),
    Layer.provideMerge(stores(settings)),
    Layer.provideMerge(database(settings))
  )

const providersOf = ({ anthropic, anthropicModel, model, openAi }: Settings) => {
  const OpenAI = OpenAi.layerConfig({ model })
  const Claude = Anthropic.layerConfig({ model: anthropicModel })
  if (openAi) return anthropic ? ([OpenAI, Claude] as const) : ([OpenAI] as const)
  return anthropic ? ([Claude] as const) : ([LocalLlm.layerProvider({ chunkDelay: "20 millis" })] as const)
}

const apology = "I cannot answer right now. Please try again in a few minutes."

/** The money of answers and embeddings is the same: it counts together under its name. */
const common = ({ usdPerDay, usdPerTenant }: Settings) =>
  ({
    circuitBreaker: {},
    // a reader who leaves ends the model's request, which is charged as estimated: nothing goes on when the service ends
    budget: { limits: [{ usd: usdPerDay }, { usd: usdPerTenant, by: "tenant" }], onLost: "estimate" },
    retry: { times: 2, timesBeforeFallback: 1, base: "250 millis", cap: "2 seconds" }
  }) as const

const answering = (settings: Settings) =>
  Resilient.layer({
    ...common(settings),
    providers: providersOf(settings),
    timeouts: { total: settings.within, attempt: "30 seconds" },
    rateLimiter: {
      requestsPerMinute: settings.perMinute,
      scopes: [{ by: "tenant", requestsPerMinute: settings.perTenant }],
      maxWait: "2 seconds" // a person waits for it
    },
    telemetry: {},
    // who asks too much is told so instead
    degrade: { static: (error) => (LlmError.toProblem(error).status === 429 ? undefined : apology) },
    inputGuard: { guards: [Guard.maxLength({ characters: 4_000 }), Guard.promptInjection()] },
    cache: { timeToLive: settings.cached, staleIfError: "7 days" },
    // what it guesses is measured before it is given out
    semanticCache: { mode: settings.semanticCache },
    outputGuard: {},
    fallback: {},
    hedge: settings.openAi && settings.anthropic ? {} : undefined
  })

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

const database = ({ database, folder }: Settings) => {
  if (Option.isSome(database)) return PgClient.layer({ url: database.value })
  const made = Effect.sync(() => mkdirSync(folder, { recursive: true }))
  return Layer.unwrap(Effect.as(made, SqliteClient.layer({ filename: join(folder, "document-qa.sqlite") })))
}
