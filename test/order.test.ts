/**
 * The order of the policies, each neighbouring pair shown by what a caller would see. Every swap of two neighbours is tried
 * out, and must be noticed by the one statement about that pair and by no other.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Cache from "effect-ballast/Cache"
import * as CacheStore from "effect-ballast/CacheStore"
import type * as Gate from "effect-ballast/Gate"
import * as Guard from "effect-ballast/Guard"
import type * as LlmError from "effect-ballast/LlmError"
import type { Service } from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import type * as Receipt from "effect-ballast/Receipt"
import * as Resilient from "effect-ballast/Resilient"
import { TestProvider } from "effect-ballast/testing"

type Name = (typeof Resilient.order)[number]
type Order = ReadonlyArray<Name>

const request = makeUnsafe("hi")
const internal = new AiError.InternalProviderError({ description: "boom" })

const run = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(self))
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const stack = (
  slots: Resilient.Slots,
  providers: readonly [TestProvider.Service, ...Array<TestProvider.Service>],
  order: Order
) => Resilient.make(slots, providers.length, order)(providers)

const outcomeOf = (exit: Exit.Exit<{ readonly text: string }, LlmError.LlmError>) =>
  Exit.match(exit, { onSuccess: ({ text }) => text, onFailure: () => "failed" })

/** A gate that counts what it let in. */
const counting = (counter: { count: number; latency: number; outcome: string }): Gate.Gate => ({
  _tag: "Admitting",
  name: "counting",
  admit: () => {
    counter.count++
    return Effect.succeed({
      settle: (settlement) =>
        Effect.sync(() => {
          counter.latency = settlement.latency
          counter.outcome = settlement.error?.reason._tag ?? settlement.outcome
        })
    })
  }
})

/** What is true of two calls, one after the other, through a stack with a cache. */
const cached = (
  slots: Resilient.Slots,
  providers: readonly [TestProvider.Service, ...Array<TestProvider.Service>],
  order: Order,
  holds: (texts: ReadonlyArray<string>) => boolean,
  semanticCache?: (inner: Service) => Service
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const { wrap } = yield* Cache.make()
    const provider = Resilient.make(slots, providers.length, order)(providers, [], { cache: wrap, semanticCache })
    const call = Effect.map(Effect.exit(provider.generate(request)), outcomeOf)
    return holds(yield* Effect.all([call, call]))
  }).pipe(Effect.scoped, Effect.provide(CacheStore.layerMemory()))

/** In place of a semantic cache: how often it was asked. */
const comparing = () => {
  let count = 0
  const semanticCache = (inner: Service): Service => ({
    ...inner,
    generate: (request) => {
      count++
      return inner.generate(request)
    }
  })
  return { compared: () => count, semanticCache }
}

interface Statement {
  readonly pair: readonly [Name, Name]
  readonly says: string
  readonly holds: (order: Order) => Effect.Effect<boolean>
}

const statements: ReadonlyArray<Statement> = [
  {
    pair: ["deadline", "telemetry"],
    says: "a stream that is taken from a reader who asks for nothing is told of when that happens",
    holds: (order) =>
      Effect.gen(function* () {
        const told: Array<string> = []
        const onReceipt = ({ attempts }: Receipt.Receipt) =>
          Effect.sync(() => void told.push(attempts[0]?.outcome ?? ""))
        const steps = [TestProvider.paced("a long answer", { every: "1 second" })]
        const stream = stack({ telemetry: { onReceipt } }, [TestProvider.make({ steps })], order).stream(request)
        const reading = Stream.runForEach(stream, (part) => (part.type === "text-delta" ? Effect.never : Effect.void))
        const fiber = yield* Effect.forkChild(Effect.exit(reading))
        yield* TestClock.adjust("10 minutes")
        const before = told.length
        yield* Fiber.interrupt(fiber)
        return before === 1
      })
  },
  {
    pair: ["telemetry", "degrade"],
    says: "an answer that stands in for a failure is told of as what it is",
    holds: (order) =>
      Effect.gen(function* () {
        let source = ""
        const onReceipt = (receipt: Receipt.Receipt) => Effect.sync(() => void (source = receipt.source))
        const provider = TestProvider.make({ steps: [internal] })
        const slots = { telemetry: { onReceipt }, degrade: { static: "sorry" } }
        yield* run(stack(slots, [provider], order).generate(request))
        return source === "static"
      })
  },
  {
    pair: ["degrade", "inputGuard"],
    says: "a guard that takes all of the call's time leaves a lesser answer",
    holds: (order) =>
      Effect.gen(function* () {
        const guards = [Guard.make({ name: "slow", version: "1", timeout: "2 hours", input: () => Effect.never })]
        const slots = { timeouts: { total: "1 second" }, degrade: { static: "sorry" }, inputGuard: { guards } } as const
        return outcomeOf(yield* run(stack(slots, [TestProvider.make()], order).generate(request))) === "sorry"
      })
  },
  {
    pair: ["inputGuard", "cache"],
    says: "what a guard rejects is not answered from the cache either",
    holds: (order) => {
      let calls = 0
      const input = () => (calls++ === 0 ? Guard.pass : Guard.block("not again"))
      const guards = [Guard.make({ name: "once", version: "1", input })]
      return cached({ inputGuard: { guards } }, [TestProvider.make()], order, ([, second]) => second === "failed")
    }
  },
  {
    pair: ["cache", "semanticCache"],
    says: "a call that was made before, word for word, needs no embedding",
    holds: (order) => {
      const { compared, semanticCache } = comparing()
      return cached({}, [TestProvider.make()], order, () => compared() === 1, semanticCache)
    }
  },
  {
    pair: ["semanticCache", "outputGuard"],
    says: "only what has passed the guards is kept for another time",
    holds: (order) => {
      let seen = ""
      const semanticCache = (inner: Service): Service => ({
        ...inner,
        generate: (request) => Effect.tap(inner.generate(request), ({ text }) => Effect.sync(() => (seen = text)))
      })
      const slots = { outputGuard: { guards: [Guard.sensitive()] } }
      const provider = Resilient.make(slots, 1, order)([TestProvider.make({ steps: ["ask jane@example.com"] })], [], {
        semanticCache
      })
      return Effect.map(Effect.orDie(provider.generate(request)), () => seen === "ask [REDACTED:email]")
    }
  },
  {
    pair: ["outputGuard", "fallback"],
    says: "what one provider begins to give away and another one ends is noticed",
    holds: (order) =>
      Effect.gen(function* () {
        const begun = TestProvider.make({
          steps: [TestProvider.broken(TestProvider.paced("ask jane@exa"), 3, internal)]
        })
        const goingOn = {
          ...TestProvider.make({ provider: "second", steps: ["mple.com now"] }),
          continuesAnswers: true
        }
        const slots = { outputGuard: { guards: [Guard.sensitive()] }, fallback: { onBreak: "resume" } } as const
        const stream = Resilient.make(slots, 2, order)([begun, goingOn]).stream(request)
        const parts = yield* Effect.orDie(Stream.runCollect(stream))
        const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
        return text === "ask [REDACTED:email] now"
      })
  },
  {
    pair: ["fallback", "retry"],
    says: "a provider is tried again before the next one is asked",
    holds: (order) =>
      Effect.gen(function* () {
        const first = TestProvider.make({ steps: [internal, "second try"] })
        const second = TestProvider.make({ provider: "second", steps: ["another"] })
        const exit = yield* run(stack({ retry: {} }, [first, second], order).generate(request))
        return outcomeOf(exit) === "second try"
      })
  },
  {
    pair: ["retry", "gates"],
    says: "each attempt passes the gates, because each attempt is billed",
    holds: (order) =>
      Effect.gen(function* () {
        const counter = { count: 0, latency: 0, outcome: "" }
        const provider = TestProvider.make({ steps: [internal, internal, "ok"] })
        yield* run(stack({ retry: {}, gates: [counting(counter)] }, [provider], order).generate(request))
        return counter.count === 3
      })
  },
  {
    pair: ["gates", "timeouts"],
    says: "a gate sees a timeout as a failure, and waiting at a gate does not use up the attempt's time",
    holds: (order) =>
      Effect.gen(function* () {
        const counter = { count: 0, latency: 0, outcome: "" }
        const slots = { timeouts: { attempt: "5 seconds" }, gates: [counting(counter)] } as const
        yield* run(stack(slots, [TestProvider.make({ steps: [TestProvider.hanging] })], order).generate(request))
        return counter.outcome === "TimedOut"
      })
  }
]

it.effect("what stands in for an answer is never kept", () =>
  Effect.gen(function* () {
    const providers = [TestProvider.make({ steps: [internal, "an answer"] })] as const
    const isKept = ([, second]: ReadonlyArray<string>) => second === "sorry"
    assert.isFalse(yield* cached({ degrade: { static: "sorry" } }, providers, Resilient.order, isKept))
  })
)

const swapped = (i: number): Order => {
  const names = [...Resilient.order]
  const [a, b] = [names[i], names[i + 1]]
  if (a !== undefined && b !== undefined) names.splice(i, 2, b, a)
  return names
}

describe("the order of the policies", () => {
  it("has one statement for each pair of neighbours", () => {
    const pairs = Resilient.order.slice(0, -1).map((name, i) => [name, Resilient.order[i + 1]])
    assert.deepStrictEqual(
      statements.map(({ pair }) => [...pair]),
      pairs
    )
  })

  it.effect.each(statements.map((statement) => [statement.says, statement] as const))("%s", ([, { holds }]) =>
    Effect.gen(function* () {
      assert.isTrue(yield* holds(Resilient.order))
    })
  )

  it.effect.each(statements.map((statement, i) => [statement.pair.join(" and "), i] as const))(
    "swapping %s breaks exactly the statement about them",
    ([, i]) =>
      Effect.gen(function* () {
        const broken: Array<string> = []
        for (const statement of statements) {
          if (!(yield* statement.holds(swapped(i)))) broken.push(statement.says)
        }
        assert.deepStrictEqual(broken, [statements[i]?.says])
      })
  )
})
