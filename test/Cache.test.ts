import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import type { Response } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Budget,
  Cache,
  CacheStore,
  Caller,
  Deadline,
  LlmProvider,
  LlmRequest,
  QuotaStore,
  Resilient
} from "effect-ballast"
import { BudgetExceeded, StoreUnavailable } from "effect-ballast/LlmError"
import { collectParts, type LlmPart } from "effect-ballast/LlmResponse"
import * as Stores from "effect-ballast/Stores"
import { TestProvider } from "effect-ballast/testing"
import { pricing, usage } from "./support/budgets.ts"
import { cached, request } from "./support/caches.ts"
import { ask, methods } from "./support/providers.ts"

const textOf = (provider: LlmProvider.Service, of = request) => Effect.map(provider.generate(of), ({ text }) => text)

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const withoutBallast = (parts: ReadonlyArray<LlmPart | Response.PartEncoded>) =>
  parts.map((part) => (part.type === "finish" ? { ...part, metadata: undefined } : part))

const internal = new AiError.InternalProviderError({ description: "overloaded" })

describe("an answer", () => {
  for (const first of methods)
    for (const second of methods)
      it.effect(`is given again: ${second} after ${first}`, () =>
        Effect.gen(function* () {
          const { cache, inner, provider } = yield* cached()
          assert.strictEqual((yield* ask(provider, first, request)).text, "one")
          const again = yield* ask(provider, second, request)
          assert.strictEqual(again.text, "one")
          assert.deepInclude(again.by, { cache: "hit", provider: "test", model: "test-model" })
          assert.strictEqual(inner.calls.length, 1)
          assert.deepInclude(yield* cache.stats, { hits: 1, misses: 1, stored: 1, entries: 1 })
        })
      )

  it.effect("is given until its time is over, up to a tenth sooner", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({ timeToLive: "10 minutes" })
      yield* textOf(provider)
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(yield* textOf(provider), "one")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* textOf(provider), "two")
      assert.strictEqual(inner.calls.length, 2)
    })
  )

  it.effect("of another request, another provider or with other settings is another one", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* cached()
      yield* textOf(provider)
      yield* textOf(provider, LlmRequest.makeUnsafe("What is Ballast?"))
      yield* textOf(provider, LlmRequest.makeUnsafe({ prompt: "What is ballast?", temperature: 0 }))
      assert.strictEqual(inner.calls.length, 3)
      const other = TestProvider.make({ endpoint: "other", steps: ["other"] })
      assert.strictEqual(yield* textOf(cache.wrap(other)), "other")
    })
  )

  const notKept: ReadonlyArray<readonly [name: string, step: TestProvider.Step]> = [
    ["a failure", internal],
    ["an empty answer", TestProvider.paced([])],
    ["one that was cut off by its length", TestProvider.paced("half", { finishReason: "length" })],
    ["one that was filtered", TestProvider.paced("half", { finishReason: "content-filter" })],
    ["one that ended in an error", TestProvider.paced("half", { finishReason: "error" })],
    ["one without a reason to be finished", TestProvider.paced("half", { finishReason: "unknown" })],
    ["one that broke", TestProvider.broken(TestProvider.paced("a b c d"), 3, internal)],
    [
      "one made by tools of the provider",
      [
        { type: "tool-call", id: "1", name: "web_search", params: {}, providerExecuted: true },
        { type: "text", text: "it says" }
      ]
    ],
    ["one that is too long", "x".repeat(5000)]
  ]
  for (const [name, step] of notKept)
    for (const method of methods)
      it.effect(`is not kept: ${name}, ${method}`, () =>
        Effect.gen(function* () {
          const { cache, inner, provider } = yield* cached({ maxEntryBytes: 1000 }, [step, "fine"], sized(1000))
          yield* Effect.exit(ask(provider, method, request))
          assert.strictEqual(yield* textOf(provider), "fine")
          assert.strictEqual(inner.calls.length, 2)
          assert.strictEqual((yield* cache.stats).entries, 1)
        })
      )

  it.effect("is not kept for requests that depend on more than they say", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* cached({ when: ({ temperature }) => temperature !== 1 })
      const byUrl = LlmRequest.makeUnsafe({
        prompt: [
          {
            role: "user",
            content: [{ type: "file", mediaType: "image/png", data: new URL("https://example.com/a.png") }]
          }
        ]
      })
      const hot = LlmRequest.makeUnsafe({ prompt: "x", temperature: 1 })
      for (const one of [byUrl, byUrl, hot, hot]) yield* provider.generate(one)
      assert.strictEqual(inner.calls.length, 4)
      assert.deepInclude(yield* cache.stats, { bypassed: 4, entries: 0 })
    })
  )

  it.effect("of another provider than the first is kept for a minute", () =>
    Effect.gen(function* () {
      const first = TestProvider.make({ provider: "first" })
      const second = TestProvider.make({ provider: "second", model: "small", steps: ["from the second"] })
      const { cache } = yield* cached()
      const provider = cache.wrap({ ...first, generate: second.generate })
      yield* textOf(provider)
      yield* TestClock.adjust("50 seconds")
      const again = yield* provider.generate(request)
      assert.deepInclude(again, { provider: "second", model: "small" })
      assert.strictEqual(second.calls.length, 1)
      yield* TestClock.adjust("10 seconds")
      yield* textOf(provider)
      assert.strictEqual(second.calls.length, 2)
    })
  )

  it.effect("that was streamed is replayed part for part", () =>
    Effect.gen(function* () {
      const script = TestProvider.paced(
        [
          { type: "reasoning", text: "let me think" },
          { type: "text", text: "here it is" },
          { type: "tool-params-start", id: "1", name: "search" },
          { type: "tool-params-delta", id: "1", delta: '{"query":' },
          { type: "tool-params-delta", id: "1", delta: '"ballast"}' },
          { type: "tool-params-end", id: "1" },
          { type: "tool-call", id: "1", name: "search", params: { query: "ballast" } }
        ],
        { finishReason: "tool-calls" }
      )
      const { inner, provider } = yield* cached({}, [script])
      const recorded = yield* Stream.runCollect(provider.stream(request))
      const replayed = yield* Stream.runCollect(provider.stream(request))
      assert.deepStrictEqual(withoutBallast(replayed), withoutBallast(recorded))
      assert.deepStrictEqual(
        withoutBallast((yield* provider.generate(request)).parts),
        withoutBallast(collectParts(recorded))
      )
      assert.strictEqual(inner.calls.length, 1)
    })
  )
})

const sized = (maxEntryBytes: number) => Layer.effect(CacheStore.CacheStore, CacheStore.makeMemory({ maxEntryBytes }))

describe("whose it is", () => {
  const asking = (provider: LlmProvider.Service, caller: Caller.Identity) => Caller.provide(textOf(provider), caller)

  it.effect("no tenant sees another's answer, and no tenant is one of its own", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({}, ["1", "2", "3", "4", "5"])
      const callers = [{ tenant: "a" }, { tenant: "b" }, {}, { tenant: "" }, { tenant: "undefined" }]
      for (const [i, caller] of callers.entries()) assert.strictEqual(yield* asking(provider, caller), `${i + 1}`)
      for (const [i, caller] of callers.entries()) assert.strictEqual(yield* asking(provider, caller), `${i + 1}`)
      assert.strictEqual(inner.calls.length, 5)
      assert.strictEqual(yield* asking(provider, { tenant: "a", user: "bob" }), "1")
    })
  )

  it.effect("users and all may be told apart or not", () =>
    Effect.gen(function* () {
      const perUser = yield* cached({ isolation: "user" })
      for (const user of ["a", "b", "a"]) yield* asking(perUser.provider, { tenant: "t", user })
      assert.strictEqual(perUser.inner.calls.length, 2)
      const shared = yield* cached({ isolation: "shared" })
      for (const tenant of ["a", "b"]) yield* asking(shared.provider, { tenant })
      assert.strictEqual(shared.inner.calls.length, 1)
    })
  )

  it.effect("is cleared by tenant or as a whole, and one by one", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* cached()
      const all = Effect.forEach([{ tenant: "a" }, { tenant: "b" }, {}], (caller) => asking(provider, caller))
      const calls = (before: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.andThen(before, all), () => inner.calls.length)
      assert.strictEqual(yield* calls(Effect.void), 3)
      assert.strictEqual(yield* calls(cache.clear({ tenant: "a" })), 4)
      assert.strictEqual(yield* calls(cache.clear({ tenant: undefined })), 5)
      assert.strictEqual(yield* calls(cache.clear()), 8)
      const invalidate = Effect.provideService(cache.invalidate(request), LlmProvider.LlmProvider, provider)
      assert.strictEqual(yield* calls(Caller.provide(invalidate, { tenant: "b" })), 9)
    })
  )
})

describe("one call says", () => {
  it.effect("that it wants none, a new one, or one that is kept for longer", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({}, ["1", "2", "3", "4", "5", "6"])
      assert.strictEqual(yield* textOf(provider), "1")
      assert.strictEqual(yield* Cache.bypass(textOf(provider)), "2")
      assert.strictEqual(yield* textOf(provider), "1")
      assert.strictEqual(yield* Cache.refresh(textOf(provider)), "3")
      assert.strictEqual(yield* textOf(provider), "3")
      yield* textOf(provider).pipe(Cache.refresh, Cache.timeToLive("1 day"))
      yield* TestClock.adjust("20 hours")
      assert.strictEqual(yield* textOf(provider), "4")
      const stream = provider.stream(request).pipe(Cache.controlStream({ mode: "refresh" }))
      assert.include(JSON.stringify(yield* Stream.runCollect(stream)), '"5"')
      assert.strictEqual(inner.calls.length, 5)
    })
  )
})

describe("equal calls at the same time", () => {
  const slow = TestProvider.paced("a b c d e", { firstPart: "1 second", every: "1 second" })

  it.effect("are one, which survives all but the last of a thousand who wait for it", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* cached({}, [slow])
      const fibers = yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) =>
        fork(i % 2 === 0 ? textOf(provider) : Effect.map(ask(provider, "stream", request), ({ text }) => text))
      )
      yield* TestClock.adjust("2 seconds")
      yield* Effect.forEach(fibers.slice(0, 999), Fiber.interrupt, { discard: true })
      assert.strictEqual(inner.calls[0]?.outcome, "running")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fibers[999] ?? assert.fail()), "a b c d e")
      assert.strictEqual(inner.calls.length, 1)
      assert.deepInclude(yield* cache.stats, { misses: 1, shared: 999, stored: 1 })
    })
  )

  for (const method of methods)
    it.effect(`end when the last one leaves, ${method}`, () =>
      Effect.gen(function* () {
        const { inner, provider } = yield* cached({}, [slow, "again"])
        const fibers = yield* Effect.forEach([1, 2], () => fork(ask(provider, method, request)))
        yield* TestClock.adjust("2 seconds")
        yield* Effect.forEach(fibers, Fiber.interrupt)
        assert.strictEqual(inner.calls[0]?.outcome, "interrupted")
        assert.strictEqual(yield* textOf(provider), "again")
      })
    )

  it.effect("go on without anybody where they are drained", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({ onAbandon: "drain" }, [slow])
      const fiber = yield* fork(textOf(provider))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(inner.calls[0]?.outcome, "success")
      assert.strictEqual(yield* textOf(provider), "a b c d e")
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("share a failure of the provider, and not a refusal that concerns one of them", () =>
    Effect.gen(function* () {
      const failing = yield* cached({}, [TestProvider.failing(internal, "1 second"), "two"])
      const both = yield* Effect.forEach([1, 2], () => fork(Effect.exit(textOf(failing.provider))))
      yield* TestClock.adjust("1 second")
      for (const fiber of both) assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.strictEqual(failing.inner.calls.length, 1)

      const broke = new BudgetExceeded({ budget: "a", window: "day", limit: 1, remaining: 0, requested: 2 })
      for (const method of methods) {
        const { inner, provider } = yield* cached({}, [TestProvider.failing(broke, "1 second"), "two"])
        const [first, second, third] = yield* Effect.forEach([1, 2, 3], () =>
          fork(Effect.exit(ask(provider, method, request)))
        )
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(first ?? assert.fail())))
        for (const fiber of [second, third])
          assert.deepStrictEqual(
            Exit.map(yield* Fiber.join(fiber ?? assert.fail()), ({ text }) => text),
            Exit.succeed("two")
          )
        assert.strictEqual(inner.calls.length, 2)
      }
    })
  )

  it.effect("have a deadline of their own: the first caller's ends only his waiting", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({ total: "30 seconds" }, [
        (_, call) =>
          Effect.as(
            Effect.andThen(
              Effect.map(Deadline.Deadline, (deadline) => deadlines.push(deadline)),
              Effect.sleep("5 seconds")
            ),
            `${call}`
          )
      ])
      const deadlines: Array<number> = []
      const hurried = yield* fork(Deadline.within(textOf(provider), "1 second"))
      const patient = yield* fork(textOf(provider))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(hurried)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(patient), "0")
      assert.deepStrictEqual(deadlines, [30_000])
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("late ones get what has passed and then follow", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* cached({}, [slow])
      const collect = () => fork(Stream.runCollect(provider.stream(request)))
      const first = yield* collect()
      yield* TestClock.adjust("3 seconds")
      const late = yield* collect()
      const taken = yield* fork(Stream.runCollect(Stream.take(provider.stream(request), 2)))
      assert.strictEqual((yield* Fiber.join(taken)).length, 2)
      yield* TestClock.adjust("1 minute")
      const [parts, same] = [yield* Fiber.join(first), yield* Fiber.join(late)]
      assert.deepStrictEqual(same, parts)
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("a stream that is too long to be kept goes at the pace of its reader, and is not joined", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 2000 }, (_, i) => `w${i} `).join("")
      const { cache, inner } = yield* cached({ maxEntryBytes: 1000 }, [words, "other"])
      let pulled = 0
      const counted = {
        ...inner,
        stream: (r: LlmRequest.LlmRequest) => Stream.tap(inner.stream(r), () => Effect.sync(() => pulled++))
      }
      let seen = 0
      const reading = yield* fork(
        Stream.runForEach(cache.wrap(counted).stream(request), () =>
          Effect.andThen(
            Effect.sync(() => seen++),
            seen === 100 ? Effect.sleep("1 second") : Effect.void
          )
        )
      )
      yield* TestClock.adjust(1)
      assert.isBelow(pulled, 400)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(reading)
      assert.isAbove(seen, 2000)
      assert.strictEqual(yield* textOf(cache.wrap(counted)), "other")
    })
  )

  it.effect("end when their time is over, though nothing inside ends them", () =>
    Effect.gen(function* () {
      const deaf = TestProvider.paced("late", { firstPart: "1 day" })
      for (const method of methods) {
        const { inner, provider } = yield* cached({ total: "30 seconds", onAbandon: "drain" }, [deaf, "again"])
        const waiting = yield* fork(Effect.flip(ask(provider, method, request)))
        yield* TestClock.adjust("31 seconds")
        assert.deepInclude((yield* Fiber.join(waiting)).reason, { _tag: "TimedOut", phase: "total" })
        assert.strictEqual(inner.calls[0]?.outcome, "interrupted")
        assert.strictEqual(yield* textOf(provider), "again")
      }
    })
  )

  it.effect("that are too long go on to their end when their reader leaves and they are drained", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 2000 }, (_, i) => `w${i} `).join("")
      const { inner, provider } = yield* cached({ maxEntryBytes: 1000, onAbandon: "drain" }, [words])
      yield* Stream.runDrain(Stream.take(provider.stream(request), 100))
      const ended = Effect.map(TestClock.adjust(1), () => inner.calls[0]?.outcome !== "running")
      yield* Effect.repeat(ended, { until: (ended) => ended, times: 500 })
      assert.strictEqual(inner.calls[0]?.outcome, "success")
    })
  )

  it.effect("end with their cache", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [slow] })
      const exit = yield* Effect.scoped(
        Effect.gen(function* () {
          const cache = yield* Cache.make({ onAbandon: "drain" })
          const fiber = yield* Effect.forkDetach(Effect.exit(cache.wrap(inner).generate(request)), {
            startImmediately: true
          })
          return fiber
        })
      ).pipe(Effect.provide(CacheStore.layerMemory()))
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.join(exit)))
      assert.strictEqual(inner.calls[0]?.outcome, "interrupted")
    })
  )
})

describe("stale answers", () => {
  it.effect("are given for a while, and made anew behind it", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* cached({ timeToLive: "1 minute", staleWhileRevalidate: "1 hour" })
      yield* textOf(provider)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* textOf(provider), "one")
      yield* TestClock.adjust(1)
      assert.strictEqual(inner.calls.length, 2)
      assert.strictEqual(yield* textOf(provider), "two")
      assert.deepInclude(yield* cache.stats, { stale: 1, hits: 1 })
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* textOf(provider), "three")
    })
  )

  it.effect("stand in for a failure that allows a lesser answer, and for no other", () =>
    Effect.gen(function* () {
      const rejected = new AiError.ContentPolicyError({ description: "no" })
      for (const method of methods) {
        const { inner, provider } = yield* cached({ timeToLive: "1 minute", staleIfError: "1 day" }, [
          "one",
          internal,
          rejected,
          "two"
        ])
        const asked = Effect.map(ask(provider, method, request), ({ text }) => text)
        assert.strictEqual(yield* asked, "one")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* asked, "one")
        assert.strictEqual((yield* Effect.flip(asked)).reason, rejected)
        assert.strictEqual(yield* asked, "two")
        assert.strictEqual(inner.calls.length, 4)
      }
    })
  )

  it.effect("are found for those who want to degrade", () =>
    Effect.gen(function* () {
      const { cache, provider } = yield* cached({ timeToLive: "1 minute", staleIfError: "1 hour" })
      const stale = Effect.provideService(cache.stale(request), LlmProvider.LlmProvider, provider)
      assert.isTrue(Option.isNone(yield* stale))
      yield* textOf(provider)
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(Option.getOrThrow(yield* stale).text, "one")
      yield* TestClock.adjust("1 hour")
      assert.isTrue(Option.isNone(yield* stale))
    })
  )
})

describe("a store that fails", () => {
  const down = (fails: Effect.Effect<never, StoreUnavailable>): Layer.Layer<CacheStore.CacheStore> =>
    Layer.succeed(CacheStore.CacheStore, {
      get: () => fails,
      set: () => fails,
      delete: () => fails,
      clear: () => fails,
      size: fails,
      external: true
    })
  const error = new StoreUnavailable({ store: "fake", operation: "get", description: "ECONNREFUSED" })

  for (const [name, fails] of [
    ["at once", Effect.fail(error)],
    ["never", Effect.never],
    ["with a bug", Effect.die(new Error("a bug"))]
  ] as const)
    it.effect(`answers ${name}: the call is made`, () =>
      Effect.gen(function* () {
        const { cache, inner, provider } = yield* cached({}, ["one", "two"], down(fails))
        for (const [i, method] of methods.entries()) {
          const asked = yield* fork(ask(provider, method, request))
          yield* TestClock.adjust("3 seconds")
          assert.strictEqual((yield* Fiber.join(asked)).text, ["one", "two"][i])
        }
        assert.strictEqual(inner.calls.length, 2)
        const stats = yield* fork(cache.stats)
        yield* TestClock.adjust("3 seconds")
        assert.isAbove((yield* Fiber.join(stats)).errors, 0)
      })
    )

  it.effect("is not asked again and again", () =>
    Effect.gen(function* () {
      let asked = 0
      const counted = Effect.suspend(() => {
        asked++
        return Effect.fail(error)
      })
      const { provider } = yield* cached({}, ["one"], down(counted))
      for (let i = 0; i < 20; i++) yield* textOf(provider)
      assert.strictEqual(asked, 5)
      yield* TestClock.adjust("10 seconds")
      yield* textOf(provider)
      assert.strictEqual(asked, 6)
    })
  )

  it.effect("what it brings from outside is checked, and deleted where it is no answer", () =>
    Effect.gen(function* () {
      const memory = yield* CacheStore.makeMemory()
      const outside = Layer.succeed(CacheStore.CacheStore, {
        ...memory,
        get: memory.get,
        set: memory.set,
        delete: memory.delete,
        clear: memory.clear,
        size: memory.size,
        external: true
      })
      const keys: Array<string> = []
      const spy = Layer.effect(
        CacheStore.CacheStore,
        Effect.map(Layer.build(outside), (services) => {
          const store = Context.get(services, CacheStore.CacheStore)
          return {
            ...store,
            set: (...args: Parameters<typeof store.set>) => {
              keys.push(args[0])
              return store.set(...args)
            }
          }
        }).pipe(Effect.scoped)
      )
      const { inner, provider } = yield* cached({}, ["one", "two"], spy)
      yield* textOf(provider)
      assert.strictEqual(yield* textOf(provider), "one")
      for (const value of [
        null,
        7,
        { version: 2 },
        { version: 1, kind: "whole", provider: "p", model: "m", parts: [{ type: "bomb" }] }
      ]) {
        yield* memory.set(keys[0] ?? "", { value, createdAt: 0, expiresAt: 1e9 }, undefined)
        const before = inner.calls.length
        yield* textOf(provider)
        assert.strictEqual(inner.calls.length, before + 1)
      }
    })
  )
})

describe("memoize", () => {
  const Weather = Schema.Struct({ at: Schema.Date, degrees: Schema.Number })

  it.effect("keeps the value of any effect, and no failure", () =>
    Effect.gen(function* () {
      const { cache } = yield* cached()
      let runs = 0
      const forecast = Effect.suspend(() =>
        ++runs === 1 ? Effect.fail("down") : Effect.succeed({ at: new Date(0), degrees: runs })
      ).pipe(cache.memoize({ key: "weather in Bremen", schema: Weather, timeToLive: "1 minute" }))
      assert.strictEqual(yield* Effect.flip(forecast), "down")
      assert.deepStrictEqual(yield* forecast, { at: new Date(0), degrees: 2 })
      assert.deepStrictEqual(yield* forecast, { at: new Date(0), degrees: 2 })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* forecast).degrees, 3)
      assert.strictEqual((yield* Caller.provide(forecast, { tenant: "other" })).degrees, 4)
    })
  )

  it.effect("runs once for all who want it, and ends when the last one leaves", () =>
    Effect.gen(function* () {
      const { cache } = yield* cached()
      let runs = 0
      let ended = 0
      const slow = Effect.as(
        Effect.onExit(
          Effect.andThen(
            Effect.sync(() => runs++),
            Effect.sleep("1 second")
          ),
          () => Effect.sync(() => ended++)
        ),
        7
      ).pipe(cache.memoize({ key: "slow", schema: Schema.Number }))
      const fibers = yield* Effect.forEach(Array.from({ length: 100 }), () => fork(slow))
      yield* TestClock.adjust(500)
      yield* Effect.forEach(fibers.slice(1), Fiber.interrupt, { discard: true })
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* Fiber.join(fibers[0] ?? assert.fail()), 7)
      assert.deepStrictEqual([runs, ended], [1, 1])
      yield* cache.clear()
      const alone = yield* fork(slow)
      yield* TestClock.adjust(500)
      yield* Fiber.interrupt(alone)
      assert.deepStrictEqual([runs, ended], [2, 2])
    })
  )
})

describe("in the whole stack", () => {
  it.effect("a hit costs nothing, and is noted as a saving of whoever got it", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({
        steps: [TestProvider.paced("ok", { firstPart: "1 second", usage: usage(10, 5) })]
      })
      const services = yield* Layer.build(
        Resilient.layer({
          providers: [Layer.succeed(LlmProvider.LlmProvider, inner)],
          cache: {},
          budget: { limits: [{ usd: 1 }] },
          rateLimiter: { requestsPerDay: 1, onLimit: "fail" }
        }).pipe(Layer.provide(Layer.merge(Stores.layerMemory, pricing)))
      )
      const provider = Context.get(services, LlmProvider.LlmProvider)
      const budget = Context.get(services, Budget.Budget)
      const asked = Caller.provide(provider.generate(request), { tenant: "acme", user: "bob" })
      const both = yield* Effect.forEach([1, 2], () => fork(asked))
      yield* TestClock.adjust("1 second")
      for (const fiber of both) yield* Fiber.join(fiber)
      yield* asked
      yield* Stream.runDrain(Caller.provideStream(provider.stream(request), { tenant: "acme" }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(inner.calls.length, 1)
      assert.deepStrictEqual(
        (yield* budget.report({ by: ["tenant", "user"] })).map(({ amount, charges, saved, user }) => [
          user,
          charges,
          amount,
          saved
        ]),
        [
          ["bob", 1, 15_000, 30_000],
          [undefined, 0, 0, 15_000]
        ]
      )
      assert.deepStrictEqual(yield* budget.check, [])
    })
  )

  it.effect("what was saved in the last second is written when the budget ends", () =>
    Effect.gen(function* () {
      const store = yield* QuotaStore.makeMemory
      yield* Effect.gen(function* () {
        const budget = yield* Budget.make({ limits: [{ usd: 1 }] })
        budget.saved({ provider: "test", model: "test-model", usage: usage(1, 1) }, { tenant: "a" })
        budget.saved({ provider: "test", model: "test-model", usage: usage(1, 2) }, { tenant: "a" })
        budget.saved({ provider: "test", model: "unknown", usage: usage(1, 2) }, { tenant: "a" })
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(Layer.succeed(QuotaStore.QuotaStore, store), pricing)))
      const lines = yield* store.ledger?.lines() ?? Effect.succeed([])
      assert.deepStrictEqual(
        lines.map(({ amount, saved, tenant }) => [tenant, amount, saved]),
        [["a", 0, 5000]]
      )
    })
  )
})

describe("the options", () => {
  it("that can never work throw", () => {
    assert.throws(() => Cache.make({ timeToLive: Infinity }), RangeError, "timeToLive")
    assert.throws(() => Cache.make({ staleIfError: 0 }), RangeError, "staleIfError")
    assert.throws(() => Cache.make({ maxEntryBytes: 0 }), RangeError, "maxEntryBytes")
    assert.throws(() => Cache.make({ total: 0 }), RangeError, "total")
    assert.throws(() => Cache.timeToLive(Effect.void, Number.NaN), RangeError, "Cache.timeToLive")
  })
})
