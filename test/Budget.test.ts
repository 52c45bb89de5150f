import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Config,
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import {
  Attempts,
  Budget,
  Caller,
  Deadline,
  LlmProvider,
  LlmRequest,
  Pricing,
  QuotaStore,
  Resilient
} from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import * as Metrics from "effect-ballast/Metrics"
import type { LlmError } from "effect-ballast/LlmError"
import { StoreUnavailable } from "effect-ballast/LlmError"
import { TestProvider } from "effect-ballast/testing"
import { budget, budgeted, calls, costing, price, pricing, request, reserved, usage } from "./support/budgets.ts"

const day = Duration.days(1)
const at = (...time: Parameters<typeof Date.UTC>) => TestClock.setTime(Date.UTC(...time))

const reasonOf = (self: Effect.Effect<unknown, LlmError>) => Effect.map(Effect.flip(self), ({ reason }) => reason)

/** How many of so many calls one after the other are let through. */
const through = (provider: LlmProvider.Service, count: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => Effect.exit(provider.generate(request))),
    (exits) => exits.filter(Exit.isSuccess).length
  )

/** An answer that costs what was reserved. */
const exact = costing(reserved / 1000)

describe("limits", () => {
  it.effect("a call that would pass the limit is refused before it is made, and says when to come again", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28, 18)
      const { inner, provider } = yield* budgeted({ limits: [{ usd: calls(2) }] }, [exact])
      assert.strictEqual(yield* through(provider, 3), 2)
      assert.strictEqual(inner.calls.length, 2)
      const error = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(error.reason, {
        _tag: "BudgetExceeded",
        budget: "all",
        window: "day",
        limit: 2 * reserved,
        remaining: 0,
        requested: reserved
      })
      assert.strictEqual(Duration.toMillis(error.retryAfter ?? 0), Duration.toMillis("6 hours"))
      assert.include(error.message, "Daily budget exceeded (all)")
      yield* TestClock.adjust("6 hours")
      assert.strictEqual(yield* through(provider, 3), 2)
    })
  )

  it.effect("what was reserved too high is there for the next call", () =>
    Effect.gen(function* () {
      const { provider } = yield* budgeted({ limits: [{ usd: calls(2) }] }, [costing(20)])
      assert.isAbove(yield* through(provider, 9), 5)
    })
  )

  const slow = TestProvider.paced("ok", { firstPart: "1 second", usage: usage(10, 10) })
  const many = (provider: LlmProvider.Service, count: number) =>
    Effect.forkChild(
      Effect.forEach(Array.from({ length: count }), () => Effect.exit(provider.generate(request)), {
        concurrency: "unbounded"
      })
    )

  it.effect("calls at the same time cannot pass it together: those that would fit wait until others have settled", () =>
    Effect.gen(function* () {
      const { budget, inner, provider } = yield* budgeted({ limits: [{ usd: calls(3) }] }, [slow])
      const all = yield* many(provider, 8)
      yield* TestClock.adjust(100)
      assert.strictEqual(inner.calls.length, 3)
      assert.strictEqual((yield* budget.remaining())[0]?.remaining, 0)
      yield* TestClock.adjust(900)
      assert.strictEqual(inner.calls.length, 5)
      yield* TestClock.adjust("9 seconds")
      assert.isTrue((yield* Fiber.join(all)).every(Exit.isSuccess))
      assert.strictEqual(yield* budget.spent(), 8 * 20_000)
    })
  )

  it.effect("a call waits no longer than it may, and is then refused without a time to come again", () =>
    Effect.gen(function* () {
      for (const [maxWait, deadline, waited] of [
        [0, "1 hour", 0],
        ["500 millis", "1 hour", 500],
        [undefined, "1 hour", 10_000],
        [undefined, "3 seconds", 3000]
      ] as const) {
        const { inner, provider } = yield* budgeted({ limits: [{ usd: calls(1) }], maxWait }, [TestProvider.hanging])
        const first = yield* Effect.forkChild(provider.generate(request), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.flip(Deadline.within(provider.generate(request), deadline)), {
          startImmediately: true
        })
        if (waited > 0) {
          yield* TestClock.adjust(waited - 1)
          assert.isUndefined(second.pollUnsafe())
          yield* TestClock.adjust(1)
        }
        const error = yield* Fiber.join(second)
        assert.deepInclude(error.reason, { _tag: "BudgetExceeded", remaining: 0 })
        assert.isUndefined(error.retryAfter)
        assert.strictEqual(inner.calls.length, 1)
        yield* Fiber.interrupt(first)
      }
    })
  )

  it.effect("those who wait go in the order in which they came, and one that leaves keeps nobody", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* budgeted({ limits: [{ usd: calls(1.9) }] }, [slow])
      const done: Array<string> = []
      const fibers = yield* Effect.forEach(["a", "b", "c", "d"], (name) =>
        Effect.forkChild(
          Effect.tap(provider.generate(request), () => Effect.sync(() => void done.push(name))),
          { startImmediately: true }
        )
      )
      yield* TestClock.adjust(500)
      if (fibers[1] !== undefined) yield* Fiber.interrupt(fibers[1])
      yield* TestClock.adjust(500)
      // it comes when there is room for it, but after those who wait
      const late = Effect.tap(provider.generate(request), () => Effect.sync(() => void done.push("late")))
      yield* Effect.forkChild(late, { startImmediately: true })
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(done, ["a", "c", "d", "late"])
      assert.strictEqual(inner.calls.length, 4)
    })
  )

  it.effect("a call that would not fit whatever the others cost is refused at once, with the end of the window", () =>
    Effect.gen(function* () {
      const { provider } = yield* budgeted({ limits: [{ usd: calls(2.5) }] }, [exact, exact, TestProvider.hanging])
      assert.strictEqual(yield* through(provider, 2), 2)
      const small = LlmRequest.makeUnsafe({ prompt: "What is ballast?", maxOutputTokens: 10 })
      yield* Effect.forkChild(provider.generate(small), { startImmediately: true })
      const error = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(error.reason, { _tag: "BudgetExceeded" })
      assert.isAbove(Duration.toMillis(error.retryAfter ?? 0), 0)
    })
  )

  it.effect("a hedge does not wait", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* budgeted({ limits: [{ usd: calls(1) }] }, [TestProvider.hanging])
      yield* Effect.forkChild(provider.generate(request), { startImmediately: true })
      const hedge = Effect.provideService(provider.generate(request), Attempts.MayWait, false)
      assert.deepInclude(yield* reasonOf(hedge), { _tag: "BudgetExceeded" })
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  const windows: ReadonlyArray<readonly [Budget.Window, before: Duration.Input, after: Duration.Input]> = [
    ["hour", "29 minutes", "31 minutes"],
    ["day", "11 hours", "13 hours"],
    ["week", "35 hours", "37 hours"],
    ["month", "59 hours", "61 hours"],
    [{ rolling: "1 hour" }, "59 minutes", "62 minutes"],
    ["run", "23 hours", "25 hours"]
  ]
  for (const [window, before, after] of windows)
    it.effect(`per ${JSON.stringify(window)} hold until the window ends`, () =>
      Effect.gen(function* () {
        yield* at(2026, 10, 28, 12, 30) // a Saturday
        yield* TestClock.adjust("-30 minutes")
        if (window === "hour") yield* TestClock.adjust("30 minutes")
        const { provider } = yield* budgeted({ limits: [{ usd: calls(1), window }] }, [exact])
        const inRun = {
          ...provider,
          generate: (r: LlmRequest.LlmRequest) => Caller.provide(provider.generate(r), { run: "1" })
        }
        assert.strictEqual(yield* through(inRun, 2), 1)
        yield* TestClock.adjust(before)
        assert.strictEqual(yield* through(inRun, 1), 0)
        yield* TestClock.adjust(Duration.subtract(Duration.fromInputUnsafe(after), Duration.fromInputUnsafe(before)))
        assert.strictEqual(yield* through(inRun, 2), 1)
      })
    )

  it.effect("a day is one of the zone, with 23 or 25 hours where the clock is changed", () =>
    Effect.gen(function* () {
      for (const [month, date, utc, hours] of [
        [2, 28, 23, 23], // 2026-03-29 begins at 23:00 UTC the day before
        [9, 24, 22, 25]
      ] as const) {
        yield* at(2026, month, date, utc)
        const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(1) }], zone: "Europe/Berlin" }, [exact])
        assert.strictEqual(yield* through(provider, 2), 1)
        const [state] = yield* budget.remaining()
        assert.deepStrictEqual(state?.resetAfter, Duration.hours(hours))
        yield* TestClock.adjust(Duration.millis(Duration.toMillis(Duration.hours(hours)) - 1))
        assert.strictEqual(yield* through(provider, 1), 0)
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* through(provider, 1), 1)
      }
    })
  )

  for (const [zone, utc, reset] of [
    // the day before has its last hour twice or not at all, the day begins at 01:00
    ["Africa/Cairo", Date.UTC(2026, 3, 23, 22), Duration.hours(23)],
    ["America/Santiago", Date.UTC(2026, 8, 6, 4), Duration.hours(23)]
  ] as const)
    it.effect(`a zone without a midnight begins its day when the clock is past it: ${zone}`, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(utc)
        const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(1) }], zone }, [exact])
        assert.strictEqual(yield* through(provider, 2), 1)
        assert.deepStrictEqual((yield* budget.remaining())[0]?.resetAfter, reset)
        yield* TestClock.adjust(reset)
        assert.strictEqual(yield* through(provider, 2), 1)
      })
    )

  it.effect("several hold at once, and the error names the one that is used up", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28)
      const { budget, provider } = yield* budgeted(
        {
          limits: [
            { usd: calls(2), window: "hour" },
            { usd: calls(3), window: "day" }
          ]
        },
        [exact]
      )
      assert.strictEqual(yield* through(provider, 3), 2)
      assert.deepInclude(yield* reasonOf(provider.generate(request)), { window: "hour" })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* through(provider, 3), 1)
      assert.deepInclude(yield* reasonOf(provider.generate(request)), { window: "day" })
      // the hour was not taken of by those that the day refused
      assert.deepStrictEqual(
        (yield* budget.remaining()).map(({ remaining }) => remaining),
        [reserved, 0]
      )
    })
  )

  it.effect("a call dearer than the whole limit is refused without a time to come again", () =>
    Effect.gen(function* () {
      const { provider } = yield* budgeted({ limits: [{ usd: calls(0.5) }] })
      const error = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(error.reason, { _tag: "BudgetExceeded" })
      assert.isUndefined(error.retryAfter)
    })
  )
})

describe("scopes", () => {
  const asking = (provider: LlmProvider.Service, caller: Caller.Identity) =>
    Effect.map(Effect.exit(Caller.provide(provider.generate(request), caller)), Exit.isSuccess)

  it.effect("each tenant has its own limit, and those without one share another", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(1), by: "tenant" }] }, [exact])
      const callers = [{ tenant: "a" }, { tenant: "b" }, {}, { tenant: "" }, { tenant: "undefined" }]
      for (const caller of callers) assert.isTrue(yield* asking(provider, caller))
      for (const caller of callers) assert.isFalse(yield* asking(provider, caller))
      const left = yield* Caller.provide(budget.remaining(), { tenant: "a" })
      assert.deepInclude(left[0], { budget: "tenant", owner: "tenant=a", remaining: 0 })
    })
  )

  it.effect("users of two tenants with one name are two users", () =>
    Effect.gen(function* () {
      const { provider } = yield* budgeted({ limits: [{ usd: calls(1), by: "user" }] }, [exact])
      assert.isTrue(yield* asking(provider, { tenant: "a", user: "bob" }))
      assert.isTrue(yield* asking(provider, { tenant: "b", user: "bob" }))
      assert.isFalse(yield* asking(provider, { tenant: "a", user: "bob" }))
    })
  )

  it.effect("each run has its own, and a call without a run is one by itself", () =>
    Effect.gen(function* () {
      const { provider } = yield* budgeted({ limits: [{ usd: calls(2), window: "run" }] }, [exact])
      for (const run of ["1", "2"])
        assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3], () => asking(provider, { run })), [true, true, false])
      for (let i = 0; i < 5; i++) assert.isTrue(yield* asking(provider, {}))
      const fits = yield* budgeted({ limits: [{ usd: calls(1), window: "run" }] }, [exact])
      assert.isTrue(yield* asking(fits.provider, {}))
      const small = yield* budgeted({ limits: [{ usd: calls(0.5), window: "run" }] }, [exact])
      assert.deepInclude(yield* reasonOf(small.provider.generate(request)), { _tag: "BudgetExceeded", window: "run" })
      assert.strictEqual(small.inner.calls.length, 0)
    })
  )

  it.effect("a function names who shares a limit, and who is not limited", () =>
    Effect.gen(function* () {
      const by: Budget.By = ({ user }, { model }) => (user === "admin" ? undefined : `${model}/${user?.[0]}`)
      const { provider } = yield* budgeted({ limits: [{ usd: calls(1), by, name: "initial" }] }, [exact])
      assert.isTrue(yield* asking(provider, { user: "bob" }))
      assert.isFalse(yield* asking(provider, { user: "bill" }))
      assert.isTrue(yield* asking(provider, { user: "carol" }))
      for (let i = 0; i < 3; i++) assert.isTrue(yield* asking(provider, { user: "admin" }))
    })
  )
})

describe("with several providers", () => {
  const dear = TestProvider.make({ provider: "dear", model: "dear", steps: [exact] })
  const cheap = TestProvider.make({ provider: "cheap", model: "cheap", steps: [costing(20)] })
  const prices = Pricing.layerTable({ dear: { input: 100, output: 100 }, cheap: price }, { base: "none" })
  const stack = (options: Budget.Options) =>
    Effect.map(
      Layer.build(
        Resilient.layer({
          providers: [Layer.succeed(LlmProvider.LlmProvider, dear), Layer.succeed(LlmProvider.LlmProvider, cheap)],
          budget: options
        }).pipe(Layer.provide(Layer.merge(prices, Layer.fresh(QuotaStore.layerMemory))))
      ),
      (services) => ({
        provider: Context.get(services, LlmProvider.LlmProvider),
        budget: Context.get(services, Budget.Budget)
      })
    )

  it.effect("the next one is asked when the first is too dear, and is priced as itself", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* stack({ limits: [{ usd: calls(10) }] })
      const before = dear.calls.length
      const answer = yield* provider.generate(request)
      assert.strictEqual(answer.model, "cheap")
      assert.strictEqual(dear.calls.length, before)
      assert.strictEqual(yield* budget.spent(), 20_000)
      assert.deepStrictEqual(
        (yield* budget.report()).map(({ amount, model, provider }) => [provider, model, amount]),
        [["cheap", "cheap", 20_000]]
      )
    })
  )

  it.effect("no other is asked where it is told to fail", () =>
    Effect.gen(function* () {
      const { provider } = yield* stack({ limits: [{ usd: calls(10) }], onExceeded: "fail" })
      const before = cheap.calls.length
      assert.deepInclude(yield* reasonOf(provider.generate(request)), { _tag: "BudgetExceeded", final: true })
      assert.strictEqual(cheap.calls.length, before)
    })
  )

  it.effect("fails with BudgetExceeded when none of them fits", () =>
    Effect.gen(function* () {
      const { provider } = yield* stack({ limits: [{ usd: calls(0.1) }] })
      const error = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(error, { provider: "cheap" })
      assert.deepInclude(error.reason, { _tag: "BudgetExceeded" })
    })
  )

  it.effect("a limit by model counts each one by itself", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* stack({ limits: [{ usd: calls(101), by: "model" }] })
      assert.strictEqual((yield* provider.generate(request)).model, "dear")
      assert.strictEqual((yield* provider.generate(request)).model, "cheap")
      const left = yield* budget.remaining(cheap)
      assert.deepInclude(left[0], { owner: "model=cheap/cheap", spent: 20_000 })
    })
  )
})

describe("prices", () => {
  it.effect("a model without one is refused by name, and not asked", () =>
    Effect.gen(function* () {
      const { budget } = yield* budgeted({ limits: [{ usd: 1 }] })
      const inner = TestProvider.make({ model: "gpt-99" })
      const error = yield* Effect.flip(Gate.through([budget.gate])(inner).generate(request))
      assert.strictEqual(error.reason._tag, "Unpriced")
      assert.include(error.message, "gpt-99")
      assert.strictEqual(inner.calls.length, 0)
      const asked = budget.canAfford(request).pipe(Effect.provideService(LlmProvider.LlmProvider, inner))
      assert.strictEqual((yield* reasonOf(asked))._tag, "Unpriced")
    })
  )

  it.effect("a strict budget reserves by bytes and all that the answer may have", () =>
    Effect.gen(function* () {
      const strict = LlmRequest.makeUnsafe({ prompt: "ä".repeat(50), maxOutputTokens: 1000 })
      const { budget, provider } = yield* budgeted({ limits: [{ usd: 1 }], strict: true }, [TestProvider.hanging])
      yield* Effect.forkChild(provider.generate(strict), { startImmediately: true })
      const [state] = yield* budget.remaining()
      assert.isAtLeast(state?.spent ?? 0, (100 + 1000) * 1000)
      assert.deepInclude(yield* reasonOf(provider.generate(LlmRequest.makeUnsafe("no bound"))), {
        _tag: "InvalidRequestError",
        parameter: "maxOutputTokens"
      })
    })
  )

  it.effect("answers are reserved as long as 95 % of those before were", () =>
    Effect.gen(function* () {
      const long = LlmRequest.makeUnsafe("What is ballast?")
      const { budget, provider } = yield* budgeted({ limits: [{ usd: 1 }] }, [
        ...Array.from({ length: 20 }, () => costing(50)),
        TestProvider.hanging
      ])
      for (let i = 0; i < 20; i++) yield* provider.generate(long)
      const before = yield* budget.spent()
      yield* Effect.forkChild(provider.generate(long), { startImmediately: true })
      const [state] = yield* budget.remaining()
      assert.isBelow((state?.spent ?? 0) - before, 60_000)
    })
  )
})

describe("what a program may ask", () => {
  it.effect("whether a call would be let through", () =>
    Effect.gen(function* () {
      const { budget, inner, provider } = yield* budgeted(
        { limits: [{ usd: calls(1) }, { usd: calls(2), by: "tenant" }] },
        [exact]
      )
      const canAfford = Effect.provideService(budget.canAfford(request), LlmProvider.LlmProvider, inner)
      assert.isTrue(yield* canAfford)
      yield* provider.generate(request)
      assert.isFalse(yield* canAfford)
      const invalid = budget.canAfford({ prompt: "x", temperature: Number.NaN })
      assert.deepInclude(yield* reasonOf(Effect.provideService(invalid, LlmProvider.LlmProvider, inner)), {
        _tag: "InvalidRequestError"
      })
    })
  )

  it.effect("to book by hand, once under an id, with a note, beyond the limit and back", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* budgeted({ limits: [{ usd: 1 }, { usd: 1, by: "tenant" }] })
      const invoice = { usd: 1.25, note: "invoice 7", id: "invoice-7", provider: "openai", model: "tts" }
      yield* budget.adjust(invoice).pipe(Caller.provide({ tenant: "a" }))
      yield* budget.adjust(invoice).pipe(Caller.provide({ tenant: "a" }))
      const left = () =>
        Effect.map(Caller.provide(budget.remaining(), { tenant: "a" }), (all) => all.map((one) => one.remaining))
      assert.deepStrictEqual(yield* left(), [-250_000_000, -250_000_000])
      assert.deepInclude(yield* reasonOf(provider.generate(request)), { _tag: "BudgetExceeded" })
      yield* budget.adjust({ usd: -0.5, note: "credit" }).pipe(Caller.provide({ tenant: "a" }))
      assert.deepStrictEqual(yield* left(), [250_000_000, 250_000_000])
      const [, first] = yield* budget.lines()
      assert.deepInclude(first, { id: "invoice-7", note: "invoice 7", outcome: "adjusted", amount: 1_250_000_000 })
      assert.throws(() => budget.adjust({ usd: Number.NaN, note: "" }), RangeError, "Budget.adjust: usd")
      assert.deepStrictEqual(yield* budget.check, [])
    })
  )

  it.effect("what was spent, by day and tenant, and what answers from a cache saved", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28)
      const { budget, provider } = yield* budgeted({ limits: [{ usd: 1 }] }, [costing(20)])
      yield* provider.generate(request).pipe(Caller.provide({ tenant: "a" }))
      yield* TestClock.adjust(day)
      yield* provider.generate(request)
      yield* budget.save({ usage: usage(3, 4), provider: "test", model: "test-model" })
      assert.strictEqual(yield* budget.spent(), 20_000)
      assert.strictEqual(yield* budget.spent({}), 40_000)
      const report = yield* budget.report({ by: ["day", "tenant"] })
      assert.deepStrictEqual(
        report.map(({ amount, day, saved, tenant }) => [day, tenant, amount, saved]),
        [
          ["2026-11-28", "a", 20_000, 0],
          ["2026-11-29", undefined, 20_000, 7000]
        ]
      )
      yield* budget.forget("a")
      assert.deepStrictEqual(
        (yield* budget.report({ by: ["tenant"] })).map(({ amount, tenant }) => [tenant, amount]),
        [[undefined, 40_000]]
      )
    })
  )
})

describe("alerts", () => {
  it.effect("tell of each threshold once in a window, and again in the next one", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28)
      const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(10) }] }, [exact])
      const seen: Array<readonly [number, number]> = []
      const watching = Stream.runForEach(budget.alerts, ({ spent, threshold }) =>
        Effect.sync(() => void seen.push([threshold, Math.round(spent / reserved)]))
      )
      yield* Effect.forkChild(watching, { startImmediately: true })
      yield* through(provider, 12)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen, [
        [0.5, 5],
        [0.8, 8],
        [1, 10]
      ])
      yield* TestClock.adjust(day)
      yield* through(provider, 6)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen.slice(3), [[0.5, 5]])
    })
  )

  it.effect("are not told of what is only reserved, and of all that is left when a call is refused", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(1.5), by: "tenant" }] }, [costing(20)])
      const seen: Array<Budget.Alert> = []
      yield* Effect.forkChild(
        Stream.runForEach(budget.alerts, (alert) => Effect.sync(() => void seen.push(alert))),
        { startImmediately: true }
      )
      yield* provider.generate(request)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen, [])
      yield* budget.adjust({ usd: calls(1), note: "elsewhere" }).pipe(Caller.provide({ tenant: "a" }))
      yield* Effect.exit(provider.generate(request).pipe(Caller.provide({ tenant: "a" })))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(
        seen.map(({ budget, limit, owner, threshold, window }) => [budget, window, owner, threshold, limit]),
        [0.5, 1].map((threshold) => ["tenant", "day", "tenant=a", threshold, Math.round(1.5 * reserved)])
      )
    })
  )

  it.effect("do not count what the day before admitted, however late it settles", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28, 23, 59)
      const late = TestProvider.paced("ok", { firstPart: "2 minutes", usage: usage(1, 10_000) })
      const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(2) }] }, [late, costing(20)])
      const seen: Array<number | undefined> = []
      yield* Effect.forkChild(
        Stream.runForEach(budget.alerts, ({ endsAt }) => Effect.sync(() => void seen.push(endsAt))),
        { startImmediately: true }
      )
      yield* Effect.forkChild(provider.generate(request), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      yield* provider.generate(request)
      yield* TestClock.adjust("1 minute")
      yield* provider.generate(request)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen, [])
      assert.strictEqual((yield* budget.remaining())[0]?.spent, 40_000)
      assert.deepInclude((yield* budget.report({ by: ["day"] }))[0], { day: "2026-11-28", amount: 10_001_000 })
    })
  )

  it.effect("come once for all budgets on one store", () =>
    Effect.gen(function* () {
      const store = yield* QuotaStore.makeMemory
      const shared = Layer.succeed(QuotaStore.QuotaStore, store)
      const two = yield* Effect.forEach([1, 2], () => budgeted({ limits: [{ usd: calls(4) }] }, [exact], shared))
      let seen = 0
      for (const { budget } of two)
        yield* Effect.forkChild(
          Stream.runForEach(budget.alerts, () => Effect.sync(() => void seen++)),
          { startImmediately: true }
        )
      for (const { provider } of two) yield* through(provider, 3)
      yield* TestClock.adjust(1)
      assert.strictEqual(seen, 3)
    })
  )
})

describe("modes and stores", () => {
  it.effect("in shadow mode everything is counted and nothing refused", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* budgeted({ limits: [{ usd: calls(2) }], mode: "shadow" }, [exact])
      const shadow = Metrics.budgetShadow("all per day")
      const before = (yield* Metric.value(shadow)).count
      assert.strictEqual(yield* through(provider, 5), 5)
      assert.strictEqual((yield* Metric.value(shadow)).count, before + 3)
      assert.deepInclude((yield* budget.remaining())[0], {
        limit: 2 * reserved,
        spent: 5 * reserved,
        remaining: -3 * reserved
      })
      assert.deepStrictEqual(yield* budget.check, [])
    })
  )

  const failing = new StoreUnavailable({ store: "fake", operation: "reserve", description: "ECONNREFUSED" })
  const down = Effect.map(QuotaStore.makeMemory, (store): QuotaStore.Service => ({
    ...store,
    ledger: store.ledger,
    shared: { name: "fake", instances: () => 1 },
    reserve: () => Effect.fail(failing)
  }))

  it.effect("windows are those of the store's clock, which may be ahead", () =>
    Effect.gen(function* () {
      yield* at(2026, 10, 28, 23, 59, 58)
      const clock = yield* Clock.Clock
      const ahead: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + 5000
      }
      const store = Effect.provideService(QuotaStore.makeMemory, Clock.Clock, ahead)
      const { budget, provider } = yield* budgeted(
        { limits: [{ usd: calls(2) }] },
        [exact],
        Layer.effect(QuotaStore.QuotaStore, store)
      )
      assert.deepStrictEqual([yield* through(provider, 2), yield* through(provider, 1)], [2, 0])
      const [left] = yield* budget.remaining()
      assert.deepInclude(left, { spent: 2 * reserved })
      assert.deepStrictEqual(left?.resetAfter, Duration.millis(Duration.toMillis(day) - 3000))
    })
  )

  it.effect("a store that does not answer refuses the call, but not in shadow mode", () =>
    Effect.gen(function* () {
      const limits = [{ usd: 1 }]
      const strict = yield* budgeted({ limits }, ["ok"], Layer.effect(QuotaStore.QuotaStore, down))
      assert.strictEqual((yield* reasonOf(strict.provider.generate(request)))._tag, "StoreUnavailable")
      assert.strictEqual(strict.inner.calls.length, 0)
      const shadow = yield* budgeted({ limits, mode: "shadow" }, ["ok"], Layer.effect(QuotaStore.QuotaStore, down))
      assert.strictEqual((yield* shadow.provider.generate(request)).text, "ok")
    })
  )

  it.effect("a store in memory is warned of once", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.make(({ message }) => void logged.push(message))
      const store = Layer.succeed(QuotaStore.QuotaStore, yield* QuotaStore.makeMemory)
      for (let i = 0; i < 2; i++)
        yield* budget({ limits: [{ usd: 1 }] }, store).pipe(Effect.provide(Logger.layer([logger])))
      assert.strictEqual(logged.length, 1)
      assert.include(String(logged[0]), "a restart begins at zero")
    })
  )

  it.effect("a store without a ledger cannot count money", () =>
    Effect.gen(function* () {
      const { ledger: _, ...store } = { ...(yield* QuotaStore.makeMemory) }
      const built = yield* Effect.exit(budget({ limits: [{ usd: 1 }] }, Layer.succeed(QuotaStore.QuotaStore, store)))
      assert.include(String(built), "keeps no ledger")
    })
  )

  it.effect("options may come from Config, and bad ones are a ConfigError", () =>
    Effect.gen(function* () {
      const built = (env: Record<string, string>) =>
        Layer.build(
          Budget.layerConfig({ limits: [{ usd: Config.Number("DAILY_USD") }] }).pipe(
            Layer.provide(Layer.merge(Layer.fresh(QuotaStore.layerMemory), pricing))
          )
        ).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))
      const made = Context.get(yield* built({ DAILY_USD: "2" }), Budget.Budget)
      assert.strictEqual((yield* made.remaining())[0]?.limit, 2_000_000_000)
      assert.include((yield* Effect.flip(built({ DAILY_USD: "-2" }))).message, "limits[0].usd")
    })
  )

  it("options that can never work throw", () => {
    const make = (options: object) => () => Budget.make({ limits: [{ usd: 1 }], ...options })
    assert.throws(make({ limits: [] }), RangeError, "limits needs at least one")
    assert.throws(make({ limits: [{ usd: 1 }], maxWait: Infinity }), RangeError, "maxWait must be finite")
    assert.throws(make({ limits: [{ usd: 0 }] }), RangeError, "limits[0].usd")
    assert.throws(make({ limits: [{ usd: Number.NaN }] }), RangeError, "limits[0].usd")
    assert.throws(make({ limits: [{ usd: 1e9 }] }), RangeError, "limits[0].usd")
    assert.throws(make({ limits: [{ usd: 1 }, { usd: 2 }] }), RangeError, 'two limits are called "all" per day')
    assert.throws(make({ limits: [{ usd: 1, window: { rolling: 0 } }] }), RangeError, "window.rolling")
    assert.throws(make({ limits: [{ usd: 1, by: () => "x" }] }), RangeError, "limits[0].name")
    assert.throws(make({ limits: [{ usd: 1, window: "run", by: "tenant" }] }), RangeError, "limits[0].by")
    assert.throws(make({ zone: "Mars/Olympus" }), RangeError, "Mars/Olympus")
    assert.throws(make({ thresholds: [0] }), RangeError, "thresholds[0]")
    assert.throws(make({ thresholds: [1.5] }), RangeError, "thresholds[0]")
  })
})
