/** The options of a circuit breaker: what can never work, defaults, and schedules as the times of the machine. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Exit, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitBreakerStore } from "effect-ballast"
import { parse, type RuleOptions } from "../src/internal/circuitRules.ts"

const owner = "CircuitBreaker.make: "

const rulesOf = (options: RuleOptions = {}) => parse(options).rules

const openFor = (options: RuleOptions) => Effect.map(rulesOf(options), ({ openFor }) => openFor)

describe("options that can never work", () => {
  const rows: ReadonlyArray<readonly [CircuitBreaker.Options, string]> = [
    [{ failures: 0 }, "failures must be an integer >= 1, got 0"],
    [{ failures: -1 }, "failures must be an integer >= 1, got -1"],
    [{ failures: 1.5 }, "failures must be an integer >= 1, got 1.5"],
    [{ failures: Number.NaN }, "failures must be an integer >= 1, got NaN"],
    [{ failures: Infinity }, "failures must be an integer >= 1, got Infinity"],
    [{ failureRate: 0 }, "failureRate must be a number above 0 and up to 1, got 0"],
    [{ failureRate: -0.1 }, "failureRate must be a number above 0 and up to 1, got -0.1"],
    [{ failureRate: Number.NaN }, "failureRate must be a number above 0 and up to 1, got NaN"],
    [{ failureRate: 1.01 }, "failureRate must be a number from 0 to 1, got 1.01"],
    [{ failureRate: 50 }, "failureRate must be a number from 0 to 1, got 50"],
    [{ minimumCalls: 0 }, "minimumCalls must be an integer >= 1, got 0"],
    [{ minimumCalls: 2.5 }, "minimumCalls must be an integer >= 1, got 2.5"],
    [{ window: 0 }, "window must be a duration > 0, got 0"],
    [{ window: "-1 seconds" }, "window must be a duration > 0, got -1 seconds"],
    [{ window: Number.NaN }, "window must be a duration > 0, got NaN"],
    [{ window: Infinity }, "window must be finite"],
    [{ window: Duration.infinity }, "window must be finite"],
    [{ window: { calls: 0 } }, "window.calls must be an integer >= 1, got 0"],
    [{ window: { calls: 10.5 } }, "window.calls must be an integer >= 1, got 10.5"],
    [{ window: { calls: 10_001 } }, "window.calls must be a number from 1 to 10000, got 10001"],
    [{ window: { calls: 9 } }, "window.calls must be at least minimumCalls (10)"],
    [{ window: { calls: 10 }, minimumCalls: 11 }, "window.calls must be at least minimumCalls (11)"],
    [{ slowCalls: {} }, "slowCalls needs a latency or a firstPart"],
    [{ slowCalls: { rate: 0.5 } }, "slowCalls needs a latency or a firstPart"],
    [{ slowCalls: { latency: Infinity } }, "slowCalls needs a latency or a firstPart"],
    [{ slowCalls: { latency: 0 } }, "slowCalls.latency must be a duration > 0, got 0"],
    [{ slowCalls: { firstPart: "0 seconds" } }, "slowCalls.firstPart must be a duration > 0, got 0 seconds"],
    [{ slowCalls: { latency: 1, rate: 0 } }, "slowCalls.rate must be a number above 0 and up to 1, got 0"],
    [{ slowCalls: { latency: 1, rate: 1.5 } }, "slowCalls.rate must be a number from 0 to 1, got 1.5"],
    [{ openFor: 0 }, "openFor must be a duration > 0, got 0"],
    [{ openFor: "-5 seconds" }, "openFor must be a duration > 0, got -5 seconds"],
    [{ openFor: Number.NaN }, "openFor must be a duration > 0, got NaN"],
    [{ maxOpenFor: 0 }, "maxOpenFor must be a duration > 0, got 0"],
    [{ maxOpenFor: Infinity }, "maxOpenFor must be finite"],
    [{ jitter: -0.1 }, "jitter must be a number from 0 to 1, got -0.1"],
    [{ jitter: 1.1 }, "jitter must be a number from 0 to 1, got 1.1"],
    [{ jitter: Number.NaN }, "jitter must be a number from 0 to 1, got NaN"],
    [{ healthyAfter: 0 }, "healthyAfter must be a duration > 0, got 0"],
    [{ probes: 0 }, "probes must be an integer >= 1, got 0"],
    [{ probes: 0.5 }, "probes must be an integer >= 1, got 0.5"],
    [{ successes: 0 }, "successes must be an integer >= 1, got 0"],
    [{ successes: Infinity }, "successes must be an integer >= 1, got Infinity"],
    [{ probeLease: 0 }, "probeLease must be a duration > 0, got 0"],
    [{ probeLease: Infinity }, "probeLease must be finite"],
    [{ ramp: -1 }, "ramp must be a duration >= 0, got -1"],
    [{ ramp: Infinity }, "ramp must be finite"],
    [{ lockedFor: 0 }, "lockedFor must be a duration > 0, got 0"],
    [{ maxLockedFor: 0 }, "maxLockedFor must be a duration > 0, got 0"]
  ]

  it.each(rows)("throw where they are given, and name the field and the rule: %o", (options, message) => {
    for (const build of [CircuitBreaker.make, CircuitBreaker.layer, CircuitBreaker.withCircuitBreaker]) {
      try {
        build(options)
      } catch (error) {
        assert(error instanceof RangeError)
        assert.strictEqual(error.message, owner + message)
        continue
      }
      assert.fail("made")
    }
  })

  it.each<RuleOptions>([
    { failures: 1 },
    { failures: false, failureRate: false },
    { failureRate: 1 },
    { failureRate: Number.MIN_VALUE },
    { minimumCalls: 1 },
    { window: 1 },
    { window: { calls: 10 } },
    { window: { calls: 10_000 } },
    { window: { calls: 1 }, minimumCalls: 1 },
    { slowCalls: { latency: 1 } },
    { slowCalls: { firstPart: 1, latency: Infinity, rate: 1 } },
    { openFor: Infinity },
    { jitter: 0 },
    { jitter: 1 },
    { healthyAfter: Infinity },
    { ramp: 0 }
  ])("are not those at the edge: %o", (options) => {
    CircuitBreaker.make(options)
  })
})

describe("rules", () => {
  it.effect("are those of the documentation where nothing is said", () =>
    Effect.gen(function* () {
      const { slow } = parse({})
      const { openFor, ...rules } = yield* rulesOf()
      assert.deepStrictEqual(rules, {
        consecutive: 5,
        window: { _tag: "time", span: 60_000 },
        minimumCalls: 10,
        failureRate: 0.5,
        slowRate: 2,
        maxOpenFor: 300_000,
        jitter: 0.1,
        healthyAfter: 300_000,
        probes: 1,
        successes: 1,
        probeLease: 300_000,
        ramp: 0
      })
      assert.deepStrictEqual(openFor.slice(0, 6), [30_000, 60_000, 120_000, 240_000, 300_000, 300_000])
      assert.deepStrictEqual(slow, { latency: Infinity, firstPart: Infinity })
    })
  )

  it.effect("say of each option what was asked for", () =>
    Effect.gen(function* () {
      const options: RuleOptions = {
        failures: 3,
        failureRate: 0.25,
        minimumCalls: 4,
        window: { calls: 50 },
        slowCalls: { latency: "20 seconds", firstPart: Duration.seconds(2), rate: 0.75 },
        openFor: "7 seconds",
        maxOpenFor: "1 minute",
        jitter: 0.2,
        healthyAfter: "2 minutes",
        probes: 2,
        successes: 3,
        probeLease: "10 seconds",
        ramp: "1 minute"
      }
      assert.deepStrictEqual(yield* rulesOf(options), {
        consecutive: 3,
        window: { _tag: "calls", size: 50 },
        minimumCalls: 4,
        failureRate: 0.25,
        slowRate: 0.75,
        openFor: [7000],
        maxOpenFor: 60_000,
        jitter: 0.2,
        healthyAfter: 120_000,
        probes: 2,
        successes: 3,
        probeLease: 10_000,
        ramp: 60_000
      })
      assert.deepStrictEqual(parse(options).slow, { latency: 20_000, firstPart: 2000 })
    })
  )

  it.effect("that are switched off are met by nothing", () =>
    Effect.gen(function* () {
      const rules = yield* rulesOf({ failures: false, failureRate: false })
      assert.deepInclude(rules, { consecutive: Infinity, failureRate: 2, slowRate: 2 })
    })
  )

  it.effect("have a slow rate of a half where only a time is given, and a window of ten milliseconds at least", () =>
    Effect.gen(function* () {
      const rules = yield* rulesOf({ slowCalls: { latency: 5 }, window: 3 })
      assert.deepInclude(rules, { slowRate: 0.5 })
      assert.deepStrictEqual(rules.window, { _tag: "time", span: 10 })
      assert.deepStrictEqual(parse({ slowCalls: { firstPart: 5 } }).slow, { latency: Infinity, firstPart: 5 })
    })
  )
})

describe("the time that it is open", () => {
  it.effect("is the same each time where it is a duration", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* openFor({ openFor: "90 seconds" }), [90_000])
      assert.deepStrictEqual(yield* openFor({ openFor: Duration.minutes(1) }), [60_000])
    })
  )

  it.effect("is not longer than the longest", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* openFor({ openFor: "10 minutes" }), [300_000])
      assert.deepStrictEqual(yield* openFor({ openFor: Infinity, maxOpenFor: 500 }), [500])
      const growing = yield* openFor({ openFor: Schedule.exponential(100), maxOpenFor: 500 })
      assert.deepStrictEqual(growing.slice(0, 5), [100, 200, 400, 500, 500])
    })
  )

  it.effect("is one step of a schedule after the other", () =>
    Effect.gen(function* () {
      const exponential = yield* openFor({ openFor: Schedule.exponential("1 second", 3) })
      assert.deepStrictEqual(exponential.slice(0, 5), [1000, 3000, 9000, 27_000, 81_000])
      const spaced = yield* openFor({ openFor: Schedule.spaced("5 seconds") })
      assert.deepStrictEqual([...new Set(spaced)], [5000])
      const fibonacci = yield* openFor({ openFor: Schedule.fibonacci("1 second") })
      assert.deepStrictEqual(fibonacci.slice(0, 5), [1000, 1000, 2000, 3000, 5000])
      assert.isTrue([exponential, spaced, fibonacci].every(({ length }) => length <= 64))
    })
  )

  it.effect("is the last step for ever where a schedule ends", () =>
    Effect.gen(function* () {
      const twice = Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(2)])
      assert.deepStrictEqual(yield* openFor({ openFor: twice }), [1000, 2000])
      const then = Schedule.concat(
        Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(2)]),
        Schedule.spaced("9 seconds")
      )
      const steps = yield* openFor({ openFor: then })
      assert.deepStrictEqual(steps.slice(0, 3), [1000, 1000, 9000])
      assert.strictEqual(steps.at(-1), 9000)
    })
  )

  it.effect("is the longest where a schedule ends at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* openFor({ openFor: Schedule.recurs(0) }), [300_000])
      assert.deepStrictEqual(yield* openFor({ openFor: Schedule.recurs(0), maxOpenFor: 700 }), [700])
    })
  )

  it.effect("is read without waiting, and takes the time as spent for a schedule that looks at it", () =>
    Effect.gen(function* () {
      const during = Schedule.max([Schedule.spaced("10 seconds"), Schedule.during("25 seconds")])
      assert.deepStrictEqual(yield* openFor({ openFor: during }), [10_000, 10_000, 10_000])
    })
  )
})

/** A breaker of its own. */
const built = (
  layer: Layer.Layer<CircuitBreaker.CircuitBreaker, Config.ConfigError, CircuitBreakerStore.CircuitBreakerStore>
) =>
  Effect.map(Layer.build(layer.pipe(Layer.provide(Layer.fresh(CircuitBreakerStore.layerMemory)))), (services) =>
    Context.get(services, CircuitBreaker.CircuitBreaker)
  )

const withEnv = (env: Record<string, string>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

describe("the schedule of a breaker", () => {
  it.effect("keeps it open for longer with each opening", () =>
    Effect.gen(function* () {
      const breaker = yield* built(
        CircuitBreaker.layer({
          failures: 1,
          jitter: 0,
          openFor: Schedule.max([Schedule.exponential(100), Schedule.recurs(2)])
        })
      )
      for (const millis of [100, 200, 200]) {
        yield* Effect.exit(breaker.execute("a")(Effect.fail("down")))
        const { since, state, until } = yield* breaker.state({ key: "a" })
        assert.deepStrictEqual([state, until - since], ["open", millis])
        yield* TestClock.adjust(millis)
      }
    })
  )
})

describe("options read from the environment", () => {
  const layer = CircuitBreaker.layerConfig({
    failures: Config.Int("FAILURES"),
    failureRate: Config.Number("RATE"),
    minimumCalls: 1,
    window: { calls: Config.Int("CALLS") },
    slowCalls: { latency: Config.Duration("SLOW") },
    openFor: Config.Duration("OPEN"),
    ramp: Config.Duration("RAMP").pipe(Config.withDefault(Duration.zero)),
    jitter: 0
  })
  const env = { FAILURES: "2", RATE: "1", CALLS: "20", SLOW: "5 seconds", OPEN: "3 seconds" }

  it.effect("are those that the breaker has", () =>
    Effect.gen(function* () {
      const breaker = yield* withEnv(env)(built(layer))
      const fails = Effect.exit(breaker.execute("a")(Effect.fail("down")))
      yield* breaker.execute("a")(Effect.succeed("up"))
      yield* fails
      assert.strictEqual((yield* breaker.state({ key: "a" })).state, "closed")
      yield* fails
      const { since, state, until } = yield* breaker.state({ key: "a" })
      assert.deepStrictEqual([state, until - since], ["open", 3000])
    })
  )

  it.effect("may be one whole", () =>
    Effect.gen(function* () {
      const whole = CircuitBreaker.layerConfig(Config.map(Config.Int("FAILURES"), (failures) => ({ failures })))
      const breaker = yield* withEnv({ FAILURES: "1" })(built(whole))
      yield* Effect.exit(breaker.execute("a")(Effect.fail("down")))
      assert.strictEqual((yield* breaker.state({ key: "a" })).state, "open")
    })
  )

  it.effect.each([
    ["FAILURES", "0", "CircuitBreaker.make: failures must be an integer >= 1, got 0"],
    ["RATE", "1.5", "CircuitBreaker.make: failureRate must be a number from 0 to 1, got 1.5"],
    ["CALLS", "0", "CircuitBreaker.make: window.calls must be an integer >= 1, got 0"],
    ["SLOW", "0 seconds", "CircuitBreaker.make: slowCalls.latency must be a duration > 0"],
    ["OPEN", "0 seconds", "CircuitBreaker.make: openFor must be a duration > 0"],
    ["RAMP", "Infinity", "CircuitBreaker.make: ramp must be finite"],
    ["FAILURES", "many", "FAILURES"],
    ["OPEN", "", "OPEN"]
  ] as const)("that can never work are a ConfigError: %s=%s", ([name, value, message]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(withEnv({ ...env, [name]: value })(built(layer)))
      const error = Exit.isFailure(exit) ? yield* Effect.flip(Effect.failCause(exit.cause)) : assert.fail("made")
      assert.instanceOf(error, Config.ConfigError)
      assert.include(String(error), message)
    })
  )
})
