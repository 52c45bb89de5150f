/** The handlers, and the service as one layer of its settings. */
import { createServer } from "node:http"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Duration, Effect, Layer } from "effect"
import { HttpEffect, HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiMiddleware, HttpApiSwagger } from "effect/http-api"
import { Budget, Cache, Caller, Resilient, SemanticCache, Telemetry } from "effect-ballast"
import * as Stores from "effect-ballast/Stores"
import { refusalOf, streamed, whole } from "./answering.ts"
import { Api } from "./api.ts"
import { Documents } from "./documents.ts"
import { entrance, outermost, page } from "./http.ts"
import { settings, type Settings } from "./settings.ts"
import { stack } from "./stack.ts"

/** A refusal says when to come again in its header, too. */
const orRefused = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  self.pipe(
    Effect.mapError(refusalOf),
    Effect.tapError((refusal) => {
      if (!("retryAfter" in refusal)) return Effect.void
      const header = HttpServerResponse.setHeader("retry-after", `${refusal.retryAfter}`)
      return HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(header(response)))
    })
  )

const batch = (inputs: ReadonlyArray<string>) => {
  const one = (input: string) => Effect.catch(whole(input), (error) => Effect.succeed({ error: refusalOf(error) }))
  return Effect.map(Effect.forEach(inputs, one, { concurrency: 4 }), (outputs) => ({ outputs }))
}

const money = Effect.gen(function* () {
  const { tenant } = yield* Caller.Caller
  const [sum] = yield* Budget.report({ by: [], tenant })
  const limits = (yield* Budget.remaining()).map(({ budget: name, limit, remaining, resetAfter, spent, window }) => {
    const resetSeconds = Duration.toSeconds(resetAfter)
    return { name, window, limitUsd: limit / 1e9, spentUsd: spent / 1e9, remainingUsd: remaining / 1e9, resetSeconds }
  })
  return { totalUsd: (sum?.amount ?? 0) / 1e9, limits }
})

/** What was answered from it goes with it. */
const remove = (id: string) =>
  Effect.gen(function* () {
    const { tenant } = yield* Caller.Caller
    yield* Documents.use((documents) => documents.remove(id))
    for (const cache of [yield* Cache.Cache, yield* SemanticCache.SemanticCache]) yield* cache.clear({ tenant })
  })

const health = Effect.gen(function* () {
  const circuits = yield* Resilient.circuits
  const tries = (of: Resilient.Circuit["of"]) =>
    circuits.some((one) => one.of === of && (one.state === "closed" || one.state === "halfOpen"))
  const probe = Documents.use(({ probe }) => probe).pipe(Effect.timeout("1 second"), Effect.isSuccess)
  const [documents, own] = yield* Effect.all([probe, Stores.health], { concurrency: "unbounded" })
  const stores = { documents, ...own }
  const direct = stores.quotas && tries("answers")
  const can = { retrieval: direct && stores.documents && tries("embeddings"), direct, stale: stores.cache }
  const rungs = Object.entries(can).flatMap(([rung, can]) => (can ? [rung] : []))
  const states = [
    ...circuits.map(({ model, provider, state }) => [`${provider}/${model}`, state] as const),
    ...Object.entries(stores).map(([name, isUp]) => [name, isUp ? "up" : "down"] as const)
  ]
  const told = { rungs, dependencies: Object.fromEntries<string>(states) }
  if (rungs.length === 0) return { status: "unavailable" as const, ...told }
  const isWell = states.every(([, state]) => state === "up" || state === "closed")
  return { status: isWell ? ("healthy" as const) : ("degraded" as const), ...told }
})

const handlers = HttpApiBuilder.group(Api, "qa", (handlers) =>
  handlers.handleAll({
    invoke: ({ payload }) => orRefused(whole(payload.input)),
    batch: ({ payload }) => batch(payload.inputs),
    stream: ({ payload }) => orRefused(streamed(payload.input)),
    budget: () => orRefused(money),
    list: () => orRefused(Documents.use(({ list }) => list)),
    upload: ({ payload, query }) => orRefused(Documents.use(({ add }) => add(query.name, payload))),
    remove: ({ params }) => orRefused(remove(params.id)),
    live: () => Effect.succeed({ status: "alive" as const }),
    health: () => health
  })
)

/** Gives every tenant who has no document yet those that ship with the service. */
const ship = ({ keys, shipped }: Settings) =>
  Effect.gen(function* () {
    const documents = yield* Documents
    const names = (yield* Effect.tryPromise(() => readdir(shipped))).filter((name) => name.endsWith(".md"))
    const add = (name: string) =>
      Effect.tryPromise(() => readFile(join(shipped, name))).pipe(
        Effect.flatMap((bytes) => documents.add(name, bytes)),
        Effect.catch((error) => Effect.logWarning(`${name} is not among the documents: ${error.message}`))
      )
    const addAll = Effect.forEach(names, add, { concurrency: 2, discard: true })
    const missing = Effect.flatMap(documents.list, ({ length }) => (length === 0 ? addAll : Effect.void))
    for (const tenant of new Set(keys.size === 0 ? ["local"] : keys.values()))
      yield* Caller.provide(missing, { tenant, feature: "document-qa" })
  })

/**
 * All of it. Fails with a `ConfigError` where a setting is wrong. What is built last ends first: running answers, the stores
 * behind them, then connections that are still there.
 */
export const server = Layer.unwrap(
  Effect.gen(function* () {
    const read = yield* settings
    if (read.keys.size === 0)
      yield* Effect.logWarning("No API_KEYS: everybody on this machine may ask, as tenant local")
    if (!read.openAi && !read.anthropic) yield* Effect.logWarning("No key: LocalLlm answers, which is not a model")
    const documents = Layer.provideMerge(Documents.layer(read), stack(read))
    const Routes = Layer.mergeAll(
      HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
        Layer.provide(handlers),
        Layer.provide([entrance(read), HttpApiMiddleware.layerProblemDetails({ includeDetails: true })]),
        HttpRouter.provideRequest(Layer.provideMerge(Layer.effectDiscard(ship(read)), documents))
      ),
      HttpApiSwagger.layer(Api, { path: "/docs" }),
      Telemetry.routePrometheus(),
      page,
      outermost
    )
    const { drain, host, port } = read
    const node = createServer({ requestTimeout: Duration.toMillis(read.bodyWithin), connectionsCheckingInterval: 500 })
    return HttpRouter.serve(Routes, { disableLogger: true }).pipe(
      Layer.provide(Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => node.closeAllConnections())))),
      Layer.provideMerge(NodeHttpServer.layer(() => node, { port, host, gracefulShutdownTimeout: drain })),
      Layer.provide(read.logs === "json" ? Telemetry.layerJsonLogs() : Layer.empty),
      Layer.provide(read.exportsTelemetry ? Telemetry.layerNode({ serviceName: "qa", metrics: false }) : Layer.empty)
    )
  })
)
