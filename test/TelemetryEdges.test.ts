/** Corners of telemetry: each test is there since a change of the code that it notices went unnoticed. */
import { assert, it } from "@effect/vitest"
import { Console, Effect, Fiber, Layer, Logger, Stream, Tracer } from "effect"
import { EmbeddingModel } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Cache from "effect-ballast/Cache"
import * as CacheStore from "effect-ballast/CacheStore"
import * as Degrade from "effect-ballast/Degrade"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Resilient from "effect-ballast/Resilient"
import * as Stores from "effect-ballast/Stores"
import * as Telemetry from "effect-ballast/Telemetry"
import { TestProvider } from "effect-ballast/testing"
import * as VectorIndex from "effect-ballast/VectorIndex"
import { Distribution } from "../src/internal/telemetrySeries.ts"
import { costing, pricing, request as priced } from "./support/budgets.ts"
import { watching } from "./support/telemetry.ts"

const request = makeUnsafe("What is ballast?")

const model = Layer.effect(
  EmbeddingModel.EmbeddingModel,
  EmbeddingModel.make({
    embedMany: ({ inputs }) => Effect.succeed({ results: inputs.map(() => [1, 0]), usage: { inputTokens: 1 } })
  })
)

it.effect("a stream behind guards has its cost in its finish part", () =>
  Effect.gen(function* () {
    const Llm = Resilient.layer({
      providers: [TestProvider.layer({ steps: [costing(50)] })],
      budget: { limits: [{ usd: 1 }] },
      outputGuard: {}
    }).pipe(Layer.provide(Layer.fresh(Stores.layerMemory)), Layer.provide(pricing))
    const stream = Stream.unwrap(Effect.map(LlmProvider.LlmProvider, ({ stream }) => stream(priced)))
    const parts = yield* Stream.runCollect(stream).pipe(Effect.provide(Llm))
    assert.include(JSON.stringify(parts.at(-1)), '"cost":50000')
  })
)

it.effect("a stale answer's receipt has nothing of the call that is made behind it, and metrics have", () =>
  Effect.gen(function* () {
    const watched = watching()
    const { wrap } = yield* Cache.make({ timeToLive: "1 minute", staleWhileRevalidate: "1 hour" })
    const provider = Resilient.make({ telemetry: { onReceipt: watched.onReceipt } }, 1)([TestProvider.make()], [], {
      cache: wrap
    })
    yield* Effect.gen(function* () {
      yield* provider.generate(request)
      yield* TestClock.adjust("2 minutes")
      yield* provider.generate(request)
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(watched.layer))
    assert.deepStrictEqual(
      watched.receipts.map(({ attempts, cache, source }) => [source, cache, attempts.length]),
      [
        ["provider", "miss", 1],
        ["cache", "stale", 0]
      ]
    )
    assert.strictEqual(watched.metric("llm_attempts_total"), 2)
  }).pipe(Effect.scoped, Effect.provide(CacheStore.layerMemory()))
)

it.effect("a hit of the semantic cache is told of as one, and what samples it is on no receipt", () =>
  Effect.gen(function* () {
    const watched = watching()
    const Llm = Resilient.layer({
      providers: [TestProvider.layer()],
      semanticCache: { sample: 1 },
      telemetry: { onReceipt: watched.onReceipt }
    }).pipe(Layer.provide(Layer.mergeAll(CacheStore.layerMemory(), VectorIndex.layerMemory(), model)))
    yield* Effect.gen(function* () {
      const { generate } = yield* LlmProvider.LlmProvider
      yield* generate(request)
      yield* generate(makeUnsafe("what is ballast"))
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(Layer.provideMerge(Llm, watched.layer)))
    assert.deepStrictEqual(
      watched.receipts.map(({ attempts, semanticCache, source }) => [source, semanticCache, attempts.length]),
      [
        ["provider", "miss", 1],
        ["semanticCache", "hit", 0]
      ]
    )
    assert.strictEqual(watched.metric("llm_attempts_total"), 2)
  })
)

it.effect("two stacks in one program add to the same numbers, and two programs do not", () =>
  Effect.gen(function* () {
    const watched = watching()
    const other = watching()
    for (const stack of [Resilient.make({}, 1), Resilient.make({}, 1)])
      yield* stack([TestProvider.make()]).generate(request).pipe(Effect.provide(watched.layer))
    yield* Resilient.make({}, 1)([TestProvider.make()]).generate(request).pipe(Effect.provide(other.layer))
    assert.deepStrictEqual([watched.metric("llm_requests_total"), other.metric("llm_requests_total")], [2, 1])
  })
)

it.effect("one telemetry within another tells nothing twice", () =>
  Effect.gen(function* () {
    const watched = watching()
    const provider = Telemetry.make()(Telemetry.make()(Resilient.make({ telemetry: false }, 1)([TestProvider.make()])))
    yield* provider.generate(request).pipe(Effect.provide(watched.layer))
    yield* Stream.runDrain(provider.stream(request)).pipe(Effect.provide(watched.layer))
    assert.strictEqual(watched.metric("llm_requests_total"), 2)
  })
)

it.effect("a trace that is not sampled stays so", () =>
  Effect.gen(function* () {
    const watched = watching({ traces: true })
    const parent = Tracer.externalSpan({ spanId: "1", traceId: "2", sampled: false })
    const provider = Resilient.make({}, 1)([TestProvider.make()])
    yield* provider.generate(request).pipe(Effect.withParentSpan(parent), Effect.provide(watched.layer))
    assert.deepStrictEqual(
      watched.spans.map(({ sampled }) => sampled),
      [false, false]
    )
  })
)

it.effect("embeddings are no calls of a chat", () =>
  Effect.gen(function* () {
    const watched = watching()
    const layer = Resilient.embeddings({ provider: "openai", name: "small", model, retry: {} })
    yield* Effect.flatMap(EmbeddingModel.EmbeddingModel, ({ embed }) => embed("a")).pipe(
      Effect.provide(Layer.provideMerge(layer, watched.layer))
    )
    assert.isUndefined(watched.metric("llm_requests_total"))
  })
)

it.effect("who leaves while it is streamed is told of once", () =>
  Effect.gen(function* () {
    const watched = watching()
    const steps = [TestProvider.paced("a long answer", { every: "1 second" })]
    const provider = Resilient.make({ telemetry: { onReceipt: watched.onReceipt } }, 1)([TestProvider.make({ steps })])
    const fiber = yield* Effect.forkChild(Stream.runDrain(provider.stream(request)).pipe(Effect.provide(watched.layer)))
    yield* TestClock.adjust("2500 millis")
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(
      watched.receipts.map(({ attempts, source }) => [source, attempts.map(({ outcome }) => outcome).join()]),
      [["none", "abandoned"]]
    )
  })
)

it("a value on the boundary of a bucket is in it", () => {
  const distribution = new Distribution([1, 2, 4])
  for (const value of [0, 1, 2, 3, 4, 5]) distribution.add(value)
  const { buckets, count, max, min, sum } = distribution.state
  assert.deepStrictEqual(buckets, [
    [1, 2],
    [2, 3],
    [4, 5]
  ])
  assert.deepStrictEqual([count, sum, min, max], [6, 15, 0, 5])
})

it.effect("the lines of a call carry the ids of its span", () =>
  Effect.gen(function* () {
    const watched = watching({ traces: true })
    const lines: Array<unknown> = []
    const console = { ...(yield* Console.Console), log: (line: string) => void lines.push(JSON.parse(line)) }
    const provider = Resilient.make({}, 1)([TestProvider.make({ steps: ["an answer"] })])
    const layer = Layer.provideMerge(Telemetry.layerJsonLogs(), watched.layer)
    yield* provider.generate(request).pipe(Effect.provideService(Console.Console, console), Effect.provide(layer))
    const common = {
      timestamp: "1970-01-01T00:00:00.000Z",
      level: "INFO",
      provider: "test",
      model: "test-model",
      trace_id: watched.spans[0]?.traceId,
      span_id: watched.spans[0]?.spanId
    }
    assert.isString(common.trace_id)
    assert.deepStrictEqual(lines, [
      { ...common, event: "llm_request_started", prompt_length: 16 },
      {
        ...common,
        event: "llm_request_completed",
        latency_ms: 0,
        source: "provider",
        attempts: 1,
        output_length: 9
      }
    ])
  })
)

it.effect("a logger that fails fails no call", () =>
  Effect.gen(function* () {
    const provider = Resilient.make({ telemetry: { logs: true } }, 1)([TestProvider.make()])
    const broken = Logger.make((): void => {
      throw new Error("disk full")
    })
    const { text } = yield* provider.generate(request).pipe(Effect.provide(Logger.layer([broken])))
    assert.strictEqual(text, "ok")
  })
)

it.effect("a lesser rung of a ladder is counted when it answers, and the first one is not", () =>
  Effect.gen(function* () {
    const watched = watching()
    const ladder = (fails: boolean) =>
      Degrade.ladder([
        Degrade.rung("best", fails ? Effect.fail("down") : Effect.succeed("best")),
        Degrade.otherwise("apology", () => "sorry")
      ])
    yield* Effect.all([ladder(true), ladder(false), ladder(true)]).pipe(Effect.provide(watched.layer))
    assert.strictEqual(watched.metric("llm_degraded_total", { rung: "apology" }), 2)
    assert.strictEqual(watched.metric("llm_degraded_total"), 2)
  })
)

it.effect("a listener that never ends keeps a call for a second, and one that dies for none", () =>
  Effect.gen(function* () {
    for (const onReceipt of [() => Effect.never, () => Effect.die("boom")]) {
      const provider = Resilient.make({ telemetry: { onReceipt } }, 1)([TestProvider.make()])
      for (const call of [Effect.asVoid(provider.generate(request)), Stream.runDrain(provider.stream(request))]) {
        const fiber = yield* Effect.forkChild(call)
        yield* TestClock.adjust("1 second")
        assert.isDefined(fiber.pollUnsafe())
        yield* Fiber.join(fiber)
      }
    }
  })
)

it.effect("the bound of models is one for all stacks of a program", () =>
  Effect.gen(function* () {
    const watched = watching()
    for (let i = 0; i < 200; i++)
      yield* Resilient.make(
        {},
        1
      )([TestProvider.make({ model: `model-${i}` })])
        .generate(request)
        .pipe(Effect.provide(watched.layer))
    assert.strictEqual(watched.series("llm_requests_total"), 51)
    assert.strictEqual(watched.metric("llm_requests_total"), 200)
  })
)
