import { fork } from "node:child_process"
import { once } from "node:events"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Logger,
  Metric,
  Result,
  Schedule,
  Scope,
  Stream
} from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Metrics } from "effect-ballast"
import {
  CircuitBreakerStore,
  type Outcome,
  type Rules,
  type Service,
  type Ticket,
  type Transition
} from "effect-ballast/CircuitBreakerStore"
import * as RedisCircuitBreakerStore from "effect-ballast/RedisCircuitBreakerStore"
import { keyOf, scripts } from "../src/internal/circuitExchange.ts"
import { maxCopies, RedisCircuits } from "../src/internal/redisCircuits.ts"
import type { Held, Task } from "./fixtures/circuit-worker.ts"
import { agrees } from "./support/circuitModel.ts"
import { type FakeRedis, fakeRedis, refused } from "./support/circuitRedis.ts"
import { logged } from "./support/gates.ts"
import {
  anyServer,
  calls,
  client,
  cluster,
  describeOwnRedis,
  describeRedis,
  own,
  RedisServer
} from "./support/redis.ts"

const rules: Rules = {
  consecutive: 5,
  window: { _tag: "calls", size: 1000 },
  minimumCalls: 1000,
  failureRate: 2,
  slowRate: 2,
  openFor: [30_000],
  maxOpenFor: 300_000,
  jitter: 0,
  healthyAfter: 300_000,
  probes: 1,
  successes: 1,
  probeLease: 60_000,
  ramp: 0
}

/** All that was told is counted, and opens nothing. */
const counting: Rules = { ...rules, consecutive: Infinity, failureRate: 1 }

const success: Outcome = { verdict: "success" }
const failure: Outcome = { verdict: "failure" }
const ignored: Outcome = { verdict: "ignored" }
const trip = (millis: number): Outcome => ({ verdict: "failure", trip: { cause: "quota", millis } })

const first: Ticket = { generation: "" }

/** On the spot. */
const spot = <A>(effect: Effect.Effect<A>): A =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? (effect.value as A) : assert.fail("not on the spot") // an exit of A

const ticket = (answer: Effect.Success<ReturnType<Service["admit"]>>): Ticket =>
  "generation" in answer ? answer : assert.fail(`refused: ${JSON.stringify(answer)}`)

/** A call of the circuit "a". */
const call = (store: Service, outcome: Outcome, by = rules) =>
  Effect.flatMap(store.admit("a", by), (answer) => store.record("a", by, ticket(answer), outcome))

const fails = (store: Service, times: number, by = rules) =>
  Effect.forEach(Array(times).keys(), () => call(store, failure, by), { discard: true })

const state = (store: Service, name = "a") => Effect.map(store.read(name), ({ state }) => state)

/** What was said on `changes` since it was asked for. */
const heard = Effect.fnUntraced(function* (store: Service) {
  const transitions: Array<Transition> = []
  yield* Effect.forkScoped(
    Stream.runForEach(store.changes, (transition) => Effect.sync(() => void transitions.push(transition))),
    { startImmediately: true }
  )
  return () => transitions.map(({ from, to }) => `${from} ${to}`)
})

/** A store over the fake. */
const over = (fake: FakeRedis) => Effect.provideService(RedisCircuitBreakerStore.make(), Redis.Redis, fake.redis)

/** Two processes, which know the circuit "a". */
const pair = Effect.gen(function* () {
  const fake = fakeRedis()
  const here = yield* over(fake)
  const there = yield* over(fake)
  for (const store of [here, there]) assert.strictEqual(yield* state(store), "closed")
  return { fake, here, there }
})

/** What becomes of a connection that is cut, and mended. */
const cut = (fake: FakeRedis) => Effect.sync(() => void (fake.before = refused))
const mend = (fake: FakeRedis) => Effect.sync(() => void (fake.before = Effect.void))

/** Time for Redis to be asked again, after it was not for a while. */
const patience = "11 seconds"

/** In silence. */
const quiet = Effect.provideService(Logger.CurrentLoggers, new Set())
const quietly = (name: string, test: () => Effect.Effect<void, never, Scope.Scope>) =>
  it.effect(name, () => quiet(test()))

describe("one store", () => {
  agrees(
    Effect.suspend(() => over(fakeRedis())),
    { runs: 60 }
  )
})

describe("three stores in step", () => {
  agrees(
    Effect.gen(function* () {
      const fake = fakeRedis()
      const stores = yield* Effect.forEach([1, 2, 3], () => over(fake))
      let turn = 0
      /** The next one's turn, who knows all that the others did. */
      const next = <A>(name: string, use: (store: Service) => Effect.Effect<A>) =>
        Effect.suspend(() => {
          const store = stores[turn++ % 3] ?? assert.fail("of three")
          return Effect.andThen(
            store.read(name),
            Effect.tap(
              Effect.suspend(() => use(store)),
              () => store.read(name)
            )
          )
        })
      const [any] = stores
      if (any === undefined) return assert.fail("none")
      return {
        ...any,
        peek: (name, rules) => next(name, (store) => store.peek(name, rules)),
        admit: (name, rules) => next(name, (store) => store.admit(name, rules)),
        record: (name, rules, ticket, outcome) => next(name, (store) => store.record(name, rules, ticket, outcome)),
        read: (name) => next(name, (store) => store.read(name)),
        isolate: (name) => next(name, (store) => store.isolate(name)),
        reset: (name) => next(name, (store) => store.reset(name))
      } satisfies Service
    }),
    { runs: 60 }
  )
})

describe("the closed path", () => {
  it.effect("is answered on the spot, and asks once a second while it is in use", () =>
    Effect.gen(function* () {
      const fake = fakeRedis()
      const store = yield* over(fake)
      const use = () => {
        for (let i = 0; i < 100; i++) {
          assert.isUndefined(spot(store.peek("a", rules)))
          assert.deepStrictEqual(spot(store.admit("a", rules)), first)
          spot(store.record("a", rules, first, success))
        }
      }
      use()
      assert.deepStrictEqual(fake.calls, { read: 1, swap: 0 })
      yield* TestClock.adjust("999 millis")
      use()
      assert.strictEqual(fake.calls.read, 1)
      yield* TestClock.adjust("1 millis")
      use()
      assert.strictEqual(fake.calls.read, 2)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(fake.calls, { read: 2, swap: 0 })
    })
  )

  it.effect("goes by an old copy until the newer one is there, and asks for one at a time", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* fails(there, 5)
      const release = yield* Latch.make()
      fake.before = release.await
      const before = fake.calls.read
      for (let i = 0; i < 100; i++) assert.deepStrictEqual(spot(here.admit("a", rules)), first)
      yield* TestClock.adjust("1 seconds")
      for (let i = 0; i < 100; i++) assert.deepStrictEqual(spot(here.admit("a", rules)), first)
      assert.strictEqual(fake.calls.read, before)
      yield* release.open
      yield* Effect.yieldNow
      assert.strictEqual(fake.calls.read, before + 1)
      assert.deepInclude(spot(here.peek("a", rules)), { cause: "failures", retryAfter: 29_000 })
      assert.deepInclude(spot(here.admit("a", rules)), { cause: "failures", undecided: false })
    })
  )

  it.effect("begins with a circuit that is taken for closed until Redis has answered", () =>
    Effect.gen(function* () {
      const { fake, there } = yield* pair
      yield* there.isolate("a")
      const late = yield* over(fake)
      const release = yield* Latch.make()
      fake.before = release.await
      assert.deepStrictEqual(spot(late.admit("a", rules)), first)
      yield* release.open
      yield* Effect.yieldNow
      assert.deepInclude(spot(late.admit("a", rules)), { cause: "isolated" })
      // what became of the call that was let go says nothing of the circuit as it is
      spot(late.record("a", rules, first, trip(1000)))
      yield* there.reset("a")
      assert.strictEqual(yield* state(late), "closed")
    })
  )
})

describe("outcomes", () => {
  it.effect("are told at once where they failed, those before them first, and once a second otherwise", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      const before = fake.calls.swap
      for (let i = 0; i < 300; i++) spot(here.record("a", counting, first, success))
      spot(here.record("a", counting, first, { verdict: "success", slow: true }))
      assert.strictEqual(fake.calls.swap, before)
      spot(here.record("a", counting, first, failure))
      assert.strictEqual(fake.calls.swap, before + 1)
      assert.deepInclude(yield* there.read("a"), { calls: 302, failures: 1, slowCalls: 1, consecutiveFailures: 1 })
      for (let i = 0; i < 98; i++) spot(here.record("a", counting, first, success))
      assert.strictEqual(fake.calls.swap, before + 1)
      yield* TestClock.adjust("1250 millis")
      assert.strictEqual(fake.calls.swap, before + 2)
      assert.deepInclude(yield* there.read("a"), { calls: 400, failures: 1, consecutiveFailures: 0 })
    })
  )

  it.effect("that come while others are being told go with the next message, and each counts once", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      const release = yield* Latch.make()
      fake.after = release.await
      const before = fake.calls.read
      for (let i = 0; i < 50; i++) {
        spot(here.record("a", counting, first, failure))
        yield* Effect.yieldNow
        spot(here.record("a", counting, first, success))
      }
      assert.deepInclude(fake.calls, { read: before + 1 })
      fake.after = Effect.void
      yield* release.open
      yield* Effect.yieldNow
      assert.deepInclude(yield* there.read("a"), { calls: 100, failures: 50 })
      assert.isAtMost(fake.calls.read - before, 4)
    })
  )

  it.effect(
    "open the circuit here at once and there when it is known, by one name, and are published once in each",
    () =>
      Effect.gen(function* () {
        const { fake, here, there } = yield* pair
        const [saidHere, saidThere] = [yield* heard(here), yield* heard(there)]
        let changed = 0
        here.onChange("a", () => changed++)
        const release = yield* Latch.make()
        fake.before = release.await
        for (let i = 0; i < 5; i++) spot(here.record("a", rules, first, failure))
        assert.deepInclude(spot(here.admit("a", rules)), { cause: "failures", retryAfter: 30_000 })
        assert.strictEqual(changed, 1)
        here.onChange("a", () => changed++)
        yield* release.open
        for (const store of [here, there]) assert.strictEqual(yield* state(store), "open")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual([saidHere(), saidThere(), changed], [["closed open"], ["closed open"], 1])

        yield* TestClock.adjust("20 seconds")
        const admitted = ticket(yield* here.admit("a", rules))
        yield* here.record("a", rules, admitted, success)
        for (const store of [here, there]) assert.strictEqual(yield* state(store), "closed")
        assert.deepStrictEqual(saidHere(), ["closed open", "open halfOpen", "halfOpen closed"])
        assert.deepStrictEqual(saidThere(), ["closed open", "open closed"])
        // the state that began here first is named as in Redis: a call of it counts there
        assert.deepStrictEqual(spot(here.admit("a", rules)), spot(there.admit("a", rules)))
      })
  )

  it.effect("of a state that is over change nothing, wherever it ended", () =>
    Effect.gen(function* () {
      const { here, there } = yield* pair
      const before = ticket(yield* here.admit("a", rules))
      yield* there.isolate("a")
      yield* there.reset("a")
      for (let i = 0; i < 5; i++) spot(here.record("a", rules, before, failure))
      spot(here.record("a", rules, before, trip(1000)))
      for (const store of [here, there])
        assert.deepInclude(yield* store.read("a"), { state: "closed", consecutiveFailures: 0 })
    })
  )

  it.effect("of other circuits are no business of theirs, whatever their names", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      const names = ["a", "", "a{b}", "a}b{", "\ud800", "\ud801", "x".repeat(201), "x".repeat(202), "ä", "a:b", "#"]
      for (const name of names) yield* here.record(name, rules, first, trip(60_000))
      assert.strictEqual(fake.values.size, names.length)
      for (const name of names) yield* there.read(name)
      for (const name of names) assert.deepInclude(spot(there.admit(name, rules)), { cause: "quota" }, name)
      for (const key of fake.values.keys()) assert.match(key, /^ballast:\[circuits\]:[\w.:~/@#-]*$/)
    })
  )
})

describe("trying", () => {
  it.effect("is for as many in the fleet as there are places, which are free when they are told or given up", () =>
    Effect.gen(function* () {
      const { here, there } = yield* pair
      const two = { ...rules, probes: 2, successes: 3 }
      yield* here.record("a", two, first, trip(1000))
      yield* there.read("a")
      yield* TestClock.adjust("999 millis")
      for (const store of [here, there]) assert.deepInclude(spot(store.admit("a", two)), { retryAfter: 1 })
      yield* TestClock.adjust("1 millis")
      const answers = yield* Effect.all(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? here : there).admit("a", two)),
        { concurrency: "unbounded" }
      )
      const tickets = answers.filter((answer) => "lease" in answer).map(ticket)
      assert.strictEqual(tickets.length, 2)
      const [one = first, other = first] = tickets
      const isUndecided = (answer: object) => "undecided" in answer && answer.undecided === true
      assert.strictEqual(answers.filter(isUndecided).length, 18)
      yield* here.record("a", two, one, ignored) // by whichever process
      ticket(yield* here.admit("a", two))
      yield* there.read("a")
      assert.deepInclude(spot(there.admit("a", two)), { undecided: true, retryAfter: 60_000 })
      yield* TestClock.adjust("60 seconds")
      ticket(yield* there.admit("a", two))
      yield* here.record("a", two, other, trip(1000)) // given up long ago
      assert.strictEqual(yield* state(there), "halfOpen")
    })
  )

  it.effect("by one that is interrupted before it is answered takes no place", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      const { swap } = fake.calls
      for (const held of ["read", "swap"]) {
        const release = yield* Latch.make()
        fake.after = Effect.suspend(() => (held === "read" || fake.calls.swap > swap ? release.await : Effect.void))
        const fiber = yield* Effect.forkChild(here.admit("a", rules), { startImmediately: true })
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(fake.calls.swap, held === "read" ? swap : swap + 1)
        yield* release.open
        fake.after = Effect.void
        assert.strictEqual(yield* state(here), held === "read" ? "open" : "halfOpen")
      }
      ticket(yield* there.admit("a", rules))
    })
  )

  it.effect("is over for those who wait here when it ended elsewhere, a second later", () =>
    Effect.gen(function* () {
      const { here, there } = yield* pair
      yield* there.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      const tried = ticket(yield* there.admit("a", rules))
      yield* here.read("a")
      let calls = 0
      here.onChange("a", () => calls++)
      yield* there.record("a", rules, tried, success)
      yield* TestClock.adjust("1250 millis")
      assert.strictEqual(calls, 1)
      ticket(spot(here.admit("a", rules)))
    })
  )

  it.effect("is told to come back by one who always comes second, but who forces it comes first", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      const { swap } = fake.calls
      let n = 0
      // somebody else writes the same under a new version before each script
      fake.before = Effect.sync(() => {
        for (const [key, value] of fake.values) fake.values.set(key, `${n++}`.padStart(36, "0") + value.slice(36))
      })
      assert.deepStrictEqual(yield* here.admit("a", rules), { cause: "quota", retryAfter: 100, undecided: true })
      assert.strictEqual(fake.calls.swap, swap + 5)
      yield* here.isolate("a")
      assert.strictEqual(fake.calls.swap, swap + 10)
      fake.before = Effect.void
      assert.strictEqual(yield* state(there), "isolated")
    })
  )
})

describe("without Redis", () => {
  it.effect("circuits go on in each process, which says so once and counts what it decides alone", () =>
    Effect.gen(function* () {
      const fake = fakeRedis()
      const run = Effect.gen(function* () {
        const store = yield* over(fake)
        yield* store.read("a")
        yield* cut(fake)
        yield* fails(store, 5)
        assert.deepInclude(spot(store.admit("a", rules)), { cause: "failures", retryAfter: 30_000 })
        yield* TestClock.adjust("30 seconds")
        const tried = ticket(yield* store.admit("a", rules))
        assert.isString(tried.lease)
        assert.deepInclude(yield* store.admit("a", rules), { undecided: true })
        yield* store.record("a", rules, tried, success)
        assert.strictEqual(yield* state(store), "closed")
        yield* store.isolate("a")
        assert.deepInclude(spot(store.admit("a", rules)), { cause: "isolated" })
        const counted = yield* Metric.value(Metric.withAttributes(Metrics.storeFallbacks, { store: "redis-circuits" }))
        assert.strictEqual(counted.count, 2)
        yield* mend(fake)
        yield* TestClock.adjust(patience)
        yield* state(store)
      })
      const { exit, lines } = yield* logged(Effect.scoped(run))
      yield* exit
      assert.deepStrictEqual(lines, [
        "Redis does not answer (ECONNREFUSED): circuits go on in this process alone",
        "Circuits are shared through Redis again"
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )

  quietly("that hangs, nobody waits longer than a command may take, and it is left alone for ten seconds", () =>
    Effect.gen(function* () {
      const { fake, here } = yield* pair
      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      let asked = 0
      fake.before = Effect.andThen(
        Effect.sync(() => asked++),
        Effect.never
      )
      const fiber = yield* Effect.forkChild(here.admit("a", rules), { startImmediately: true })
      yield* TestClock.adjust("249 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const tried = ticket(yield* Fiber.join(fiber))
      spot(here.record("a", rules, tried, success))
      assert.isString(tried.lease)
      for (let i = 0; i < 40; i++) {
        spot(here.admit("a", rules))
        yield* TestClock.adjust("250 millis")
      }
      assert.strictEqual(asked, 5)
    })
  )

  quietly("what happened is told when it is back, if the state it happened in lasts", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* cut(fake)
      yield* fails(here, 2)
      yield* mend(fake)
      yield* TestClock.adjust(patience)
      assert.deepInclude(yield* there.read("a"), { state: "closed", consecutiveFailures: 2 })
      yield* cut(fake)
      yield* fails(here, 2)
      yield* mend(fake)
      yield* there.isolate("a")
      yield* there.reset("a")
      yield* TestClock.adjust(patience)
      for (const store of [here, there]) assert.deepInclude(yield* store.read("a"), { consecutiveFailures: 0 })
    })
  )

  quietly("one that opened here stays open to its end, though the others know nothing of it", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* cut(fake)
      yield* fails(here, 5)
      yield* mend(fake)
      yield* there.isolate("a")
      yield* there.reset("a")
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual(yield* state(there), "closed")
      assert.strictEqual(yield* state(here), "open")
      assert.deepInclude(spot(here.admit("a", rules)), { cause: "failures", retryAfter: 1 })
      yield* TestClock.adjust("1 millis")
      assert.isUndefined(ticket(yield* here.admit("a", rules)).lease)
      assert.strictEqual(yield* state(here), "closed")
    })
  )

  quietly("one that opened here opens in the fleet when it is back", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* cut(fake)
      yield* fails(here, 5)
      yield* mend(fake)
      yield* TestClock.adjust(patience)
      assert.strictEqual(yield* state(there), "open")
    })
  )

  quietly("who isolates or resets a circuit does so here at once and in the fleet when it is back", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* cut(fake)
      yield* here.isolate("a")
      assert.deepInclude(spot(here.admit("a", rules)), { cause: "isolated" })
      assert.isUndefined(spot(there.peek("a", rules)))
      yield* mend(fake)
      yield* TestClock.adjust(patience)
      assert.strictEqual(yield* state(there), "isolated")
      yield* cut(fake)
      yield* here.reset("a")
      ticket(spot(here.admit("a", rules)))
      yield* mend(fake)
      yield* TestClock.adjust(patience)
      assert.strictEqual(yield* state(there), "closed")
    })
  )

  quietly("an answer that is lost does not make what was told count twice, nor take a place for nobody", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      const lose = Effect.sync(() => {
        fake.after = Effect.suspend(() => (fake.calls.swap > swap ? refused : Effect.void))
      })
      let { swap } = fake.calls
      yield* lose
      yield* fails(here, 3, counting)
      assert.strictEqual(fake.calls.swap, swap + 1)
      fake.after = Effect.void
      yield* TestClock.adjust(patience)
      assert.deepInclude(yield* there.read("a"), { calls: 3, failures: 3 })

      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      swap = fake.calls.swap
      yield* lose
      const tried = ticket(yield* here.admit("a", rules))
      fake.after = Effect.void
      assert.deepInclude(yield* there.admit("a", rules), { undecided: true })
      spot(here.record("a", rules, tried, success))
      yield* TestClock.adjust(patience)
      assert.strictEqual(yield* state(there), "closed")
    })
  )

  quietly("what is remembered to be told is bounded, and the newest of it", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* cut(fake)
      for (let i = 0; i < 1000; i++) {
        spot(here.record("a", counting, first, success))
        spot(here.record("a", counting, first, failure))
      }
      for (let i = 0; i < 20_000; i++) spot(here.record("b", counting, first, success))
      yield* mend(fake)
      yield* TestClock.adjust(patience)
      assert.deepInclude(yield* there.read("a"), { calls: 256, failures: 128 })
      assert.deepInclude(yield* there.read("b"), { calls: 1000, failures: 0 })
    })
  )
})

describe("what is in Redis", () => {
  for (const [name, value] of Object.entries({
    "no JSON": "{",
    "another JSON": "[1, 2, 3]",
    "a state that nobody knows": `{"state":"sleepy"}`,
    "too long": "x".repeat(2_000_000)
  }))
    it.effect(`may be ${name}: the circuit is closed, and written anew`, () =>
      Effect.gen(function* () {
        const { fake, here, there } = yield* pair
        fake.values.set("ballast:[circuits]:a", "0".repeat(36) + value)
        assert.strictEqual(yield* state(here), "closed")
        yield* fails(here, 5)
        assert.strictEqual(yield* state(there), "open")
      })
    )

  it.effect("may get lost: the circuit is closed, and what was admitted in it counts for nothing", () =>
    Effect.gen(function* () {
      const { fake, here, there } = yield* pair
      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 seconds")
      const tried = ticket(yield* here.admit("a", rules))
      fake.values.clear()
      yield* here.record("a", rules, tried, trip(1000))
      for (const store of [here, there]) assert.strictEqual(yield* state(store), "closed")
      assert.deepStrictEqual(spot(here.admit("a", rules)), first)
    })
  )

  it.effect("is in a time of its own, which all go by", () =>
    Effect.gen(function* () {
      const fake = fakeRedis()
      const here = yield* over(fake)
      yield* here.record("a", rules, first, trip(1000))
      yield* TestClock.adjust("1 hour")
      const { redis } = fake
      const hour = 3_600_000
      const shifted = {
        ...redis,
        send: (...command: Parameters<typeof redis.send>) =>
          // both scripts answer the time first
          Effect.map(redis.send<[number, ...Array<unknown>]>(...command), ([now, ...more]) => [now - hour, ...more])
      } as typeof redis
      const late = yield* over({ ...fake, redis: shifted })
      assert.strictEqual(yield* state(late), "open")
      yield* TestClock.adjust("999 millis")
      assert.deepInclude(spot(late.admit("a", rules)), { retryAfter: 1 })
    })
  )
})

describe("what is remembered", () => {
  const circuits = (store: Service) => (store instanceof RedisCircuits ? store.size : assert.fail("another store"))

  it.effect("are the circuits used in the last hour, and those that are open", () =>
    Effect.gen(function* () {
      const store = yield* over(fakeRedis())
      yield* store.isolate("open")
      for (let i = 0; i < 500; i++) spot(store.admit(`old ${i}`, rules))
      yield* TestClock.adjust("1 hour")
      for (let i = 0; i < 500; i++) spot(store.admit(`new ${i}`, rules))
      assert.deepStrictEqual(circuits(store), { circuits: 501, unsent: 0, listeners: 0 })
      assert.deepInclude(spot(store.admit("open", rules)), { cause: "isolated" })
    })
  )

  it.effect("are ten thousand at most, of which the one unused for longest goes, its outcomes told", () =>
    Effect.gen(function* () {
      const fake = fakeRedis()
      const store = yield* over(fake)
      yield* store.isolate("open")
      spot(store.record("told", counting, first, success))
      for (let i = 2; i < maxCopies; i++) spot(store.admit(`${i}`, rules))
      assert.strictEqual(circuits(store).circuits, maxCopies)
      assert.strictEqual(fake.calls.swap, 1)
      spot(store.admit("one more", rules))
      assert.deepStrictEqual(circuits(store), { circuits: maxCopies, unsent: 0, listeners: 0 })
      assert.strictEqual(fake.calls.swap, 2)
      assert.deepInclude(spot(store.admit("open", rules)), { cause: "isolated" })
    })
  )

  it.effect("is told when the store is closed, and nothing runs on after it", () =>
    Effect.gen(function* () {
      const { fake, there } = yield* pair
      const scope = yield* Scope.make()
      const store = yield* Scope.provide(over(fake), scope)
      yield* store.read("a")
      for (let i = 0; i < 10; i++) spot(store.record("a", counting, first, success))
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* there.read("a"), { calls: 10 })
      const { read } = fake.calls
      yield* TestClock.adjust("10 seconds")
      ticket(spot(store.admit("a", rules)))
      spot(store.record("a", rules, first, failure))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(fake.calls.read, read)
    })
  )

  quietly("is given up after the time of a command when the store is closed and Redis hangs", () =>
    Effect.gen(function* () {
      const { fake } = yield* pair
      const scope = yield* Scope.make()
      const store = yield* Scope.provide(over(fake), scope)
      spot(store.record("a", counting, first, success))
      fake.before = Effect.never
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("249 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
    })
  )
})

describe("options", () => {
  it("that can never work throw", () => {
    for (const commandTimeout of [0, -1, Number.NaN, Infinity])
      assert.throws(() => RedisCircuitBreakerStore.make({ commandTimeout }), RangeError)
  })

  it.effect("may come from the configuration", () =>
    Effect.gen(function* () {
      const fake = fakeRedis()
      const layer = RedisCircuitBreakerStore.layerConfig({
        prefix: Config.String("PREFIX"),
        commandTimeout: Config.Duration("TIMEOUT")
      }).pipe(Layer.provide(Layer.succeed(Redis.Redis, fake.redis)))
      const built = (env: Record<string, string>) =>
        Effect.provide(
          Effect.flatMap(CircuitBreakerStore, (store) => store.isolate("a")),
          layer.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env))))
        )
      yield* built({ PREFIX: "crm", TIMEOUT: "1 second" })
      assert.deepStrictEqual([...fake.values.keys()], ["crm:[circuits]:a"])
      const failed = yield* Effect.result(built({ PREFIX: "crm", TIMEOUT: "0 seconds" }))
      assert.match(Result.isFailure(failed) ? String(failed.failure) : "", /commandTimeout must be a duration > 0/)
    })
  )
})

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

let groups = 0
const newGroup = () => `test-${process.pid}-${groups++}`

const made = (group: string, options?: RedisCircuitBreakerStore.Options) =>
  RedisCircuitBreakerStore.make({ group, commandTimeout: "2 seconds", ...options })

const until = <E, R>(ok: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(ok, { until: (ok) => ok, schedule: Schedule.spaced("20 millis"), times: 500 })

const scriptCalls = Effect.map(calls, (calls) => (calls.get("evalsha") ?? 0) + (calls.get("eval") ?? 0))

describeRedis("on a server", { timeout: 30_000 }, () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("a closed circuit costs no round trip, but one or two a second", () =>
      Effect.gen(function* () {
        const store = yield* made(newGroup())
        yield* store.read("a")
        yield* call(store, failure, counting)
        yield* store.read("a")
        const before = yield* scriptCalls
        for (let i = 0; i < 1000; i++) {
          const answer = ticket(spot(store.admit("a", counting)))
          spot(store.record("a", counting, answer, success))
        }
        assert.strictEqual(yield* scriptCalls, before)
        yield* TestClock.adjust("1250 millis")
        assert.deepInclude(yield* store.read("a"), { calls: 1000, failures: 0 })
        assert.isAtMost((yield* scriptCalls) - before, 3)
      })
    )
  })

  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    it.effect("calls that fail at the same time in two processes are counted once each, and open it once", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const stores = [yield* made(group), yield* made(group)]
        const all = (by: Rules) =>
          Effect.forEach(
            Array.from({ length: 200 }, (_, i) => stores[i % 2]),
            (store) => (store === undefined ? Effect.void : Effect.andThen(Effect.yieldNow, call(store, failure, by))),
            { concurrency: "unbounded" }
          )
        yield* all({ ...counting, minimumCalls: 1001, window: { _tag: "calls", size: 1001 } })
        for (const store of stores) yield* store.read("a")
        for (const store of stores)
          assert.deepInclude(yield* store.read("a"), { state: "closed", calls: 200, consecutiveFailures: 200 })

        for (const store of stores) yield* store.reset("a")
        for (const store of stores) yield* store.read("a")
        const said = yield* Effect.forEach(stores, heard)
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => stores[i % 2]),
          (store) => (store === undefined ? Effect.void : Effect.ignoreCause(call(store, failure))),
          { concurrency: "unbounded" }
        )
        for (const store of stores) yield* store.read("a")
        const [one, other] = yield* Effect.forEach(stores, (store) => store.read("a"))
        assert.strictEqual(one?.state, "open")
        assert.deepStrictEqual(one, other)
        assert.deepStrictEqual(
          said.map((said) => said()),
          [["closed open"], ["closed open"]]
        )
      })
    )

    it.effect("a fleet of two processes holds no more places than there are", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer
        const group = newGroup()
        const store = yield* made(group)
        const two = { ...rules, probes: 2, successes: 1000 }
        yield* store.record("a", two, first, trip(1))
        yield* until(Effect.map(state(store), (state) => state === "open"))
        const task: Task = { circuit: "a", rules: two, fibers: 20, millis: 1500 }
        const held = (yield* Effect.promise(() => Promise.all([1, 2].map(() => worked(url, group, task))))).flat()
        assert.isAbove(held.length, 20)
        const most = held.map(([at]) => held.filter(([from, to]) => from <= at && at < to).length)
        assert.isAtMost(Math.max(...most), 2)
      })
    )

    it.effect("an isolated circuit is refused elsewhere within a second, for as long as it is asked for", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const [here, there] = [yield* made(group), yield* made(group)]
        yield* there.read("a")
        yield* here.isolate("a")
        const isRefused = Effect.map(
          Effect.suspend(() => there.peek("a", rules)),
          (refusal) => refusal?.cause === "isolated"
        )
        yield* Effect.timeout(until(isRefused), "1500 millis")
        const redis = yield* Redis.Redis
        const key = keyOf("ballast", group)("a")
        assert.isAbove(yield* redis.send<number>("PTTL", key), 364 * 86_400_000)
        yield* here.reset("a")
        yield* fails(here, 1)
        yield* here.read("a")
        const left = yield* redis.send<number>("PTTL", key)
        assert.isTrue(left > 7_100_000 && left <= 7_200_000, `${left}`)
        // who reads it keeps it alive
        yield* redis.send("PEXPIRE", key, "3599000")
        yield* there.read("a")
        assert.isAbove(yield* redis.send<number>("PTTL", key), 7_100_000)
      })
    )
  })
})

const worker = fileURLToPath(new URL("fixtures/circuit-worker.ts", import.meta.url))

const worked = async (url: string, group: string, task: Task): Promise<Held> => {
  const child = fork(worker, [url, group], { execArgv: [] })
  await once(child, "message")
  child.send(task)
  const [held] = await once(child, "message")
  child.kill()
  return held as Held // the one message that the worker sends then
}

describeOwnRedis("a cluster", () => {
  it.layer(
    client().pipe(Layer.provideMerge(cluster)),
    live
  )((it) => {
    it.effect("takes circuits of any name", () =>
      Effect.gen(function* () {
        const store = yield* made("}{x")
        for (const name of ["a", "}{", "https://x.example/v1 a", "\ud800"]) {
          yield* store.isolate(name)
          assert.strictEqual(yield* state(store, name), "isolated")
        }
      })
    )
  })
})

describeOwnRedis("a server that fails", { timeout: 30_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("may forget everything, scripts and circuits", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        const store = yield* made(newGroup())
        yield* store.isolate("a")
        yield* redis.send("SCRIPT", "FLUSH")
        yield* redis.send("FLUSHALL")
        assert.strictEqual(yield* state(store), "closed")
        yield* fails(store, 5)
        assert.strictEqual(yield* state(store), "open")
        const known = yield* redis.send("SCRIPT", "EXISTS", scripts.read.sha, scripts.swap.sha)
        assert.deepStrictEqual(known, [1, 1])
      })
    )

    it.effect("is done without while it is gone, and shares circuits again when it is back", () =>
      quiet(
        Effect.gen(function* () {
          const server = yield* RedisServer
          const group = newGroup()
          const [here, there] = [
            yield* made(group, { commandTimeout: 100 }),
            yield* made(group, { commandTimeout: 100 })
          ]
          yield* here.read("a")
          yield* server.kill
          yield* fails(here, 2)
          const breaker = yield* Effect.provideService(CircuitBreaker.make({ jitter: 0 }), CircuitBreakerStore, here)
          assert.strictEqual(yield* breaker.execute("b")(Effect.succeed("up")), "up")
          assert.deepInclude(yield* here.read("a"), { consecutiveFailures: 2 })
          yield* server.start
          yield* until(Effect.map(there.read("a"), ({ consecutiveFailures }) => consecutiveFailures === 2))
        })
      )
    )
  })
})
