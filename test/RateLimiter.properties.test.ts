/** Any interleaving of callers who come, wait, run, leave and are interrupted, against what the limits promise. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Caller, type RateLimiter } from "effect-ballast"
import { limiter } from "./support/limiters.ts"

const bucket = { limit: 5, seconds: 2 }
const rolling = { limit: 7, seconds: 3 }
const atOnce = 3

const options: RateLimiter.Options = {
  limits: [
    { count: "requests", limit: bucket.limit, per: bucket.seconds * 1000 },
    { count: "outputTokens", limit: rolling.limit, per: rolling.seconds * 1000, algorithm: "rolling" }
  ],
  concurrency: atOnce,
  scopes: [{ by: "tenant", limits: [{ count: "requests", limit: 4, per: "1 second" }] }],
  maxWait: "4 seconds",
  maxQueue: 6,
  maxQueuePerTenant: 3
}

const Come = Schema.Struct({
  op: Schema.Literal("come"),
  way: Schema.Literals(["hold", "hold", "acquire", "try"]),
  requests: Schema.Literals([1, 1, 1, 2, 0]),
  tokens: Schema.Literals([0, 1, 2, 5]),
  tenant: Schema.Literals(["a", "b", "c"]),
  priority: Schema.Literals(["normal", "normal", "high", "low"]),
  runs: Schema.Literals([0, 1, 250, 1000, 3000])
})
const Leave = Schema.Struct({ op: Schema.Literal("leave"), who: Schema.Literals([0, 1, 2, 3, 4, 5]) })
const Pass = Schema.Struct({ op: Schema.Literal("pass"), millis: Schema.Literals([1, 10, 99, 250, 333, 1000, 2500]) })
const Run = Schema.Array(Schema.Union([Come, Come, Come, Leave, Pass, Pass])).check(
  Schema.isMinLength(30),
  Schema.isMaxLength(70)
)

interface Admitted {
  readonly at: number
  readonly requests: number
  readonly tokens: number
  readonly tenant: string
}

/** The most that any interval holds beyond what comes back in it; whole milliseconds round up. */
const excess = (all: ReadonlyArray<Admitted>, amount: (one: Admitted) => number, perMilli: number): number => {
  let worst = -Infinity
  all.forEach((first, i) => {
    let sum = 0
    for (const one of all.slice(i)) {
      sum += amount(one)
      worst = Math.max(worst, sum - perMilli * (one.at - first.at))
    }
  })
  return worst
}

const check = (admitted: ReadonlyArray<Admitted>) => {
  const requests = ({ requests }: Admitted) => requests
  assert.isAtMost(excess(admitted, requests, bucket.limit / (bucket.seconds * 1000)), bucket.limit + 1e-6)
  for (const tenant of ["a", "b", "c"]) {
    const own = admitted.filter((one) => one.tenant === tenant)
    assert.isAtMost(excess(own, requests, 4 / 1000), 4 + 1e-6)
  }
  admitted.forEach(({ at }) => {
    const span = admitted.filter((one) => one.at >= at && one.at < at + rolling.seconds * 1000)
    assert.isAtMost(
      span.reduce((sum, { tokens }) => sum + tokens, 0),
      rolling.limit
    )
  })
}

describe("a limiter", () => {
  it.effect.prop(
    "admits no more than it holds in any interval, and in the end holds all of it again",
    [Run],
    ([run]) =>
      Effect.gen(function* () {
        const limits = yield* limiter(options)
        const admitted: Array<Admitted> = []
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        let running = 0
        for (const step of run) {
          if (step.op === "pass") yield* TestClock.adjust(step.millis)
          else if (step.op === "leave") {
            const fiber = fibers.at(-1 - step.who)
            if (fiber !== undefined) yield* Fiber.interrupt(fiber)
          } else {
            const { priority, requests, runs, tenant, tokens, way } = step
            const cost = { requests, outputTokens: tokens }
            const enter = Effect.map(Clock.currentTimeMillis, (at) => {
              admitted.push({ at, requests, tokens, tenant })
            })
            const hold = Effect.gen(function* () {
              assert.isAtMost(++running, atOnce)
              yield* Effect.sleep(runs)
            }).pipe(Effect.ensuring(Effect.sync(() => running--)))
            const ways = {
              hold: limits.withPermits({ key: "key", cost })(Effect.andThen(enter, hold)),
              acquire: Effect.andThen(limits.acquire("key", cost), enter),
              try: Effect.flatMap(limits.tryAcquire("key", cost), (got) => (got ? enter : Effect.void))
            }
            const call = Caller.provide(ways[way], { tenant, priority })
            fibers.push(yield* Effect.forkChild(Effect.exit(call), { startImmediately: true }))
          }
        }
        yield* TestClock.adjust("1 minute")
        assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() !== undefined))
        assert.strictEqual(running, 0)
        check(admitted)
        const states = yield* limits.state({ key: "key" })
        assert.deepStrictEqual(
          states.map(({ remaining }) => remaining),
          [bucket.limit, rolling.limit, atOnce]
        )
        assert.isTrue(yield* limits.tryAcquire("key", { requests: 4, outputTokens: rolling.limit }))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )
})
