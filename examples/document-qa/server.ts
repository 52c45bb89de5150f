/** The handlers, and the service as one layer of its settings. */
import { createServer } from "node:http"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Duration, Effect, Layer, Stream } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder, HttpApiMiddleware, HttpApiSwagger } from "effect/http-api"
import { Budget, Cache, Caller, CircuitBreaker, SemanticCache, Telemetry } from "effect-ballast"
import { CacheStore } from "effect-ballast/CacheStore"
import { Answering, type Question, type Refusal, refusalOf, unavailable } from "./answering.ts"
import { Api, type Event, NotFound, Principal, type Problem, Rejected } from "./api.ts"
import { Documents } from "./documents.ts"
import { authentication, body, Lifecycle, outermost, page, reference, RequestId } from "./http.ts"
import { settings, type Settings } from "./settings.ts"
import { Models, stack } from "./stack.ts"

const qa = HttpApiBuilder.group(Api, "qa", (handlers) =>
  Effect.gen(function* () {
    const answering = yield* Answering
    const budget = yield* Budget.Budget
    const asked = (text: string, how: Question["how"]) =>
      Effect.gen(function* () {
        const { tenant } = yield* Principal
        return yield* answering.ask({ tenant, text, how, requestId: yield* RequestId })
      })
    const invoke = (input: string) =>
      Effect.gen(function* () {
        const { metadata, text } = yield* asked(input, "whole")
        return { output: yield* Effect.mapError(Stream.mkString(text), refusalOf), metadata: yield* metadata }
      }).pipe(Effect.scoped)
    const orProblem = (input: string) =>
      Effect.catch(invoke(input), (refusal) => Effect.succeed({ error: problemOf(refusal) }))
    const money = Effect.gen(function* () {
      const { tenant } = yield* Principal
      const [sum] = yield* budget.report({ by: [], tenant })
      const limits = (yield* budget.remaining()).map(({ budget: name, limit, remaining, resetAfter, window }) => {
        const resetSeconds = Duration.toSeconds(resetAfter)
        return { name, window, limitUsd: limit / 1e9, remainingUsd: remaining / 1e9, resetSeconds }
      })
      return { spentUsd: (sum?.amount ?? 0) / 1e9, limits }
    })
    return handlers.handleAll({
      invoke: ({ payload }) => invoke(payload.input),
      batch: ({ payload: { inputs } }) =>
        Effect.map(Effect.forEach(inputs, orProblem, { concurrency: 4 }), (outputs) => ({ outputs })),
      stream: ({ payload }) => Effect.map(asked(payload.input, "stream"), eventsOf),
      budget: () => Effect.mapError(money, unavailable)
    })
  })
)

const eventsOf = ({ metadata, sources, text }: Effect.Success<ReturnType<Answering["Service"]["ask"]>>) =>
  Stream.succeed<typeof Event.Type>({ event: "sources", data: sources }).pipe(
    Stream.concat(Stream.map(text, (data) => ({ event: "data" as const, data }))),
    Stream.concat(
      Stream.fromEffect(Effect.map(metadata, (metadata) => ({ event: "end" as const, data: { metadata } })))
    ),
    Stream.catch((error) => Stream.succeed({ event: "error" as const, data: problemOf(refusalOf(error)) }))
  )

const problemOf = (refusal: Refusal): typeof Problem.Type => {
  const { detail = "", status, title } = refusal
  return { title, status, detail, ...("retryAfter" in refusal ? { retryAfter: refusal.retryAfter } : {}) }
}

const documents = HttpApiBuilder.group(Api, "documents", (handlers) =>
  Effect.gen(function* () {
    const documents = yield* Documents
    const caches = [yield* Cache.Cache, yield* SemanticCache.SemanticCache]
    /** What was answered from it goes with it. */
    const remove = (tenant: string, id: string) =>
      Effect.gen(function* () {
        yield* documents.remove(tenant, id)
        yield* Effect.forEach(caches, (cache) => cache.clear({ tenant }), { discard: true })
      })
    return handlers.handleAll({
      list: () => Principal.use(({ tenant }) => Effect.mapError(documents.list(tenant), unavailable)),
      upload: ({ payload, query }) =>
        Principal.use(({ tenant }) => documents.add(tenant, query.name, payload)).pipe(
          Effect.mapError((error) => (error instanceof Rejected ? error : refusalOf(error)))
        ),
      remove: ({ params }) =>
        Principal.use(({ tenant }) => remove(tenant, params.id)).pipe(
          Effect.mapError((error) => (error instanceof NotFound ? error : unavailable()))
        )
    })
  })
)

const operations = HttpApiBuilder.group(Api, "operations", (handlers) =>
  Effect.gen(function* () {
    const breaker = yield* CircuitBreaker.CircuitBreaker
    const budget = yield* Budget.Budget
    const documents = yield* Documents
    const store = yield* CacheStore
    const { providers } = yield* Models
    const isUp = <E>(self: Effect.Effect<unknown, E>) => Effect.isSuccess(Effect.timeout(self, "1 second"))
    const health = Effect.gen(function* () {
      const circuits: Record<string, string> = {}
      for (const provider of providers)
        circuits[`${provider.provider}/${provider.model}`] = (yield* breaker.state({ provider })).state
      const up = yield* Effect.all(
        { documents: isUp(documents.probe), budget: isUp(budget.remaining()), cache: isUp(store.get("", undefined)) },
        { concurrency: "unbounded" }
      )
      const direct = up.budget && Object.values(circuits).some((state) => state === "closed" || state === "halfOpen")
      const can = { retrieval: direct && up.documents, direct, stale: up.cache }
      const stores = Object.entries(up).map(([name, isUp]) => [name, isUp ? "up" : "down"])
      const dependencies: Record<string, string> = { ...circuits, ...Object.fromEntries(stores) }
      const isWell = Object.values(dependencies).every((state) => state === "up" || state === "closed")
      const rungs = Object.entries(can).flatMap(([rung, can]) => (can ? [rung] : []))
      if (rungs.length === 0) return { status: "unavailable" as const, rungs, dependencies }
      return { status: isWell ? ("healthy" as const) : ("degraded" as const), rungs, dependencies }
    })
    return handlers.handleAll({ live: () => Effect.succeed({ status: "alive" as const }), health: () => health })
  })
)

/** Gives every tenant who has no document yet those that ship with the service. */
const ship = ({ keys, shipped }: Settings) =>
  Effect.gen(function* () {
    const documents = yield* Documents
    const names = (yield* Effect.tryPromise(() => readdir(shipped))).filter((name) => name.endsWith(".md"))
    const add = (tenant: string) => (name: string) =>
      Effect.tryPromise(() => readFile(join(shipped, name))).pipe(
        Effect.flatMap((bytes) => documents.add(tenant, name, bytes)),
        Caller.provide({ tenant, feature: "document-qa" }),
        Effect.catch((error) => Effect.logWarning(`${name} is not among the documents: ${error.message}`))
      )
    for (const tenant of new Set(keys.size === 0 ? ["local"] : Array.from(keys.values(), ({ tenant }) => tenant)))
      if ((yield* documents.list(tenant)).length === 0) yield* Effect.forEach(names, add(tenant), { discard: true })
  })

/** What is built last ends first: running answers before the server, and the server before the stores. */
const service = (read: Settings) => {
  const problems = HttpApiMiddleware.layerProblemDetails({ includeDetails: true })
  const Handlers = Layer.mergeAll(qa, documents, operations, Layer.effectDiscard(ship(read))).pipe(
    Layer.provide(Answering.layer(read)),
    Layer.provide(Documents.layer),
    Layer.provide(stack(read)),
    Layer.provide([authentication(read), body(read), problems])
  )
  const Routes = Layer.mergeAll(
    HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(Layer.provide(Handlers)),
    HttpApiSwagger.layer(Api, { path: "/docs" }).pipe(Layer.provide(reference)),
    Telemetry.routePrometheus(),
    page,
    outermost
  )
  const node = () => createServer({ headersTimeout: 10_000, requestTimeout: 120_000 })
  const { drain, host, port } = read
  return Layer.effectDiscard(Lifecycle.use((running) => Effect.addFinalizer(() => running.drain(drain)))).pipe(
    Layer.provideMerge(HttpRouter.serve(Routes, { disableLogger: true })),
    Layer.provideMerge(NodeHttpServer.layer(node, { port, host, gracefulShutdownTimeout: "1 second" })),
    Layer.provide(Lifecycle.layer),
    Layer.provide(read.logs === "json" ? Telemetry.layerJsonLogs() : Layer.empty),
    Layer.provide(read.exportsTelemetry ? Telemetry.layerNode({ serviceName: "qa", metrics: false }) : Layer.empty)
  )
}

/** All of it. Fails with a `ConfigError` where a setting is wrong. */
export const server = Layer.unwrap(
  Effect.gen(function* () {
    const read = yield* settings
    if (read.keys.size === 0)
      yield* Effect.logWarning("No API_KEYS: everybody on this machine may ask, as tenant local")
    if (!read.openAi && !read.anthropic) yield* Effect.logWarning("No key: LocalLlm answers, which is not a model")
    return service(read)
  })
)
