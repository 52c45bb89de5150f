/** What the store in memory adds to the machine: answers on the spot, listeners, a stream of changes, forgetting. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreakerStore } from "effect-ballast"
import type { Refusal, Rules, Snapshot, Ticket, Transition } from "effect-ballast/CircuitBreakerStore"
import * as memory from "../src/internal/memoryCircuits.ts"

const rules: Rules = {
  consecutive: 1,
  window: { _tag: "time", span: 60_000 },
  minimumCalls: 10,
  failureRate: 0.5,
  slowRate: 2,
  openFor: [1000],
  maxOpenFor: 10_000,
  jitter: 0,
  healthyAfter: 60_000,
  probes: 1,
  successes: 1,
  probeLease: 500,
  ramp: 0
}

/** Nothing depends on the window. */
const inARow: Rules = { ...rules, consecutive: 2, failureRate: 2 }

const success = { verdict: "success" } as const
const failure = { verdict: "failure" } as const
const ignored = { verdict: "ignored" } as const
const locked = { verdict: "failure", trip: { cause: "credential", millis: 1000 } } as const

const onTheSpot = <A>(effect: Effect.Effect<A>): A =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? (effect.value as A) : assert.fail("no success on the spot") // an exit of A

const ticketOf = (answer: Ticket | Refusal): Ticket =>
  "generation" in answer ? answer : assert.fail(`refused: ${JSON.stringify(answer)}`)

const admitted = (store: memory.MemoryCircuits, of = rules, name = "a"): Ticket =>
  ticketOf(onTheSpot(store.admit(name, of)))

const call = (store: memory.MemoryCircuits, outcome: Parameters<typeof store.record>[3], of = rules, name = "a") => {
  const ticket = admitted(store, of, name)
  onTheSpot(store.record(name, of, ticket, outcome))
  return ticket
}

/** One that is open, half open with its place taken, and isolated. */
const inEveryState = Effect.fnUntraced(function* (store: memory.MemoryCircuits) {
  call(store, failure, rules, "halfOpen")
  yield* TestClock.adjust(1000)
  call(store, failure, rules, "open")
  yield* store.isolate("isolated")
  return admitted(store, rules, "halfOpen")
})

const stateOf = (store: CircuitBreakerStore.Service, name = "a") => Effect.map(store.read(name), ({ state }) => state)

/** Counts how often it was called. */
const counter = () => {
  const listener = () => void listener.calls++
  listener.calls = 0
  return listener
}

describe("circuits in memory", () => {
  it.effect("answer on the spot in every state", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const trying = yield* inEveryState(store)
      for (const [name, refused] of [
        ["unknown", false],
        ["open", true],
        ["halfOpen", true],
        ["isolated", true]
      ] as const) {
        assert.strictEqual(onTheSpot(store.peek(name, rules)) !== undefined, refused, name)
        assert.strictEqual("generation" in onTheSpot(store.admit(name, rules)), !refused, name)
        assert.isUndefined(onTheSpot(store.record(name, rules, { generation: "late" }, failure)))
      }
      onTheSpot(store.record("halfOpen", rules, trying, success))
      assert.isUndefined(onTheSpot(store.peek("halfOpen", rules)))
      assert.strictEqual(yield* stateOf(store, "halfOpen"), "closed")
    })
  )

  it.effect("refuse as the machine does", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* inEveryState(store)
      const refusals: Record<string, Refusal> = {
        open: { cause: "failures", retryAfter: 1000, undecided: false },
        halfOpen: { cause: "failures", retryAfter: 500, undecided: true },
        isolated: { cause: "isolated", retryAfter: undefined, undecided: false }
      }
      for (const [name, refusal] of Object.entries(refusals)) {
        assert.deepStrictEqual(onTheSpot(store.peek(name, rules)), refusal)
        assert.deepStrictEqual<unknown>(onTheSpot(store.admit(name, rules)), refusal)
      }
    })
  )

  it.effect("are told apart by their names", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      call(store, failure, rules, "a")
      assert.strictEqual(yield* stateOf(store, "a"), "open")
      assert.strictEqual(yield* stateOf(store, "b"), "closed")
      admitted(store, rules, "__proto__")
    })
  )

  it.effect("are shared by nobody but those who share the store", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* memory.make, yield* memory.make]
      call(one, failure)
      admitted(other)
      assert.strictEqual(yield* stateOf(one), "open")
    })
  )

  it.effect("are what the layer provides", () =>
    Effect.gen(function* () {
      const store = yield* CircuitBreakerStore.CircuitBreakerStore
      yield* store.isolate("a")
      assert.strictEqual(yield* stateOf(store), "isolated")
    }).pipe(Effect.provide(CircuitBreakerStore.layerMemory))
  )
})

describe("the answer of a closed circuit", () => {
  it.effect("is always the same one, which costs nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      assert.strictEqual(store.admit("a", rules), store.admit("b", rules))
      call(store, success)
      assert.strictEqual(store.admit("a", rules), store.admit("a", rules))
      yield* store.reset("a")
      assert.strictEqual(store.admit("a", rules), store.admit("a", rules))
      assert.notStrictEqual(store.admit("a", rules), store.admit("b", rules))
    })
  )

  it.effect("is of the generation that counts, before and after anything that changes it", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const tickets: Array<Ticket> = []
      /** A call that counts shows that its generation is the circuit's. */
      const assertCurrent = () => {
        for (const ticket of tickets) onTheSpot(store.record("a", inARow, ticket, locked))
        tickets.push(admitted(store, inARow))
        assert.strictEqual(new Set(tickets.map(({ generation }) => generation)).size, tickets.length)
        return Effect.gen(function* () {
          assert.strictEqual(yield* stateOf(store), "closed", "late results change nothing")
          call(store, failure, inARow)
          assert.deepInclude(yield* store.read("a"), { state: "closed", consecutiveFailures: 1 })
        })
      }
      yield* assertCurrent()
      yield* store.reset("a") // while it is closed
      yield* assertCurrent()
      yield* store.isolate("a")
      yield* store.isolate("a")
      yield* store.reset("a")
      yield* assertCurrent()
      call(store, failure, inARow)
      yield* TestClock.adjust(1000)
      call(store, success, inARow)
      yield* assertCurrent()
      call(store, locked, inARow)
      yield* store.reset("a")
      yield* assertCurrent()
    })
  )

  it.effect("is not that constant one while a ramp lasts", () =>
    Effect.gen(function* () {
      const ramp = { ...rules, ramp: 1000 }
      const store = yield* memory.make
      call(store, failure, ramp)
      yield* TestClock.adjust(1000)
      call(store, success, ramp)
      const goes = () => "generation" in onTheSpot(store.admit("a", ramp))
      const share = () => Array.from({ length: 2000 }, goes).filter(Boolean).length / 2000
      assert.closeTo(share(), 0.1, 0.04)
      yield* TestClock.adjust(500)
      assert.closeTo(share(), 0.5, 0.06)
      yield* TestClock.adjust(500)
      assert.strictEqual(share(), 1)
    })
  )
})

describe("what is read", () => {
  it.effect("of an unknown circuit is one that is closed and holds nothing, and stays unknown", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* TestClock.setTime(5000)
      const expected: Snapshot = {
        state: "closed",
        cause: undefined,
        since: 5000,
        until: 0,
        consecutiveFailures: 0,
        calls: 0,
        failures: 0,
        slowCalls: 0
      }
      assert.deepStrictEqual(yield* store.read("a"), expected)
      assert.isUndefined(onTheSpot(store.peek("a", rules)))
      admitted(store)
      assert.deepStrictEqual(store.size, { circuits: 0, listeners: 0 })
    })
  )

  it.effect("is what the window holds now, not what it held when somebody last called", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const lenient = { ...rules, consecutive: 100 }
      yield* TestClock.setTime(60_000)
      for (const outcome of [failure, { verdict: "success", slow: true }, success] as const)
        call(store, outcome, lenient)
      yield* TestClock.setTime(119_999)
      assert.deepInclude(yield* store.read("a"), { calls: 3, failures: 1, slowCalls: 1, consecutiveFailures: 0 })
      yield* TestClock.setTime(120_000)
      assert.deepInclude(yield* store.read("a"), { calls: 0, failures: 0, slowCalls: 0 })
    })
  )

  it.effect("tells what opened it, since when and until when", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* TestClock.setTime(7000)
      call(store, failure)
      assert.deepInclude(yield* store.read("a"), { state: "open", cause: "failures", since: 7000, until: 8000 })
    })
  )

  it.effect("is read when the effect runs, and isolation and reset happen then", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const [read, isolate, reset] = [store.read("a"), store.isolate("a"), store.reset("a")]
      assert.strictEqual((yield* read).state, "closed")
      for (let i = 0; i < 2; i++) {
        yield* isolate
        assert.strictEqual((yield* read).state, "isolated")
        yield* reset
        assert.strictEqual((yield* read).state, "closed")
      }
    })
  )
})

describe("a listener", () => {
  it.effect("is called once by each way in which a circuit changes", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const ways: ReadonlyArray<readonly [string, Effect.Effect<void>]> = [
        ["opens", Effect.sync(() => call(store, failure))],
        ["is tried", Effect.andThen(TestClock.adjust(1000), () => store.admit("a", rules))],
        ["is isolated", store.isolate("a")],
        ["is reset", store.reset("a")]
      ]
      for (const [way, happens] of ways) {
        const listener = counter()
        const elsewhere = counter()
        store.onChange("a", listener)
        const unlisten = store.onChange("b", elsewhere)
        yield* happens
        assert.deepStrictEqual([listener.calls, elsewhere.calls], [1, 0], way)
        unlisten()
      }
      assert.strictEqual(store.size.listeners, 0)
    })
  )

  it.effect("is called when one that tried is over, whatever became of it", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      for (const outcome of [ignored, success, failure]) {
        yield* store.reset("a")
        call(store, failure)
        yield* TestClock.adjust(1000)
        const ticket = admitted(store)
        const listener = counter()
        store.onChange("a", listener)
        onTheSpot(store.record("a", rules, ticket, outcome))
        assert.strictEqual(listener.calls, 1, outcome.verdict)
      }
    })
  )

  it.effect("sees the circuit as it has become", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      call(store, failure)
      yield* TestClock.adjust(1000)
      const ticket = admitted(store)
      let seen: Ticket | Refusal | undefined
      store.onChange("a", () => (seen = onTheSpot(store.admit("a", rules))))
      onTheSpot(store.record("a", rules, ticket, ignored))
      assert.isString(ticketOf(seen ?? assert.fail("not called")).lease)
    })
  )

  it.effect("is not called for calls that change nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const listener = counter()
      store.onChange("a", listener)
      for (const outcome of [success, failure, ignored]) call(store, outcome, { ...rules, consecutive: 5 })
      yield* store.reset("a") // of a closed circuit
      yield* store.read("a")
      onTheSpot(store.peek("a", rules))
      assert.strictEqual(listener.calls, 0)
    })
  )

  it.effect("may be taken back, before and after it was called, and none is left behind", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const [stays, leaves, later] = [counter(), counter(), counter()]
      const unlisten = [store.onChange("a", stays), store.onChange("a", leaves)] as const
      unlisten[1]()
      unlisten[1]()
      assert.strictEqual(store.size.listeners, 1)
      yield* store.isolate("a")
      assert.deepStrictEqual([stays.calls, leaves.calls], [1, 0])
      assert.strictEqual(store.size.listeners, 0)
      const unlistenLater = store.onChange("a", later)
      unlisten[0]() // takes nothing from who came after it
      yield* store.reset("a")
      assert.deepStrictEqual([stays.calls, later.calls], [1, 1])
      unlistenLater()
      assert.strictEqual(store.size.listeners, 0)
    })
  )

  it.effect("that listens again when it is called is called for the next change, and others with it", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      let heard = 0
      const listen = (): void => {
        store.onChange("a", () => {
          heard++
          listen()
        })
      }
      listen()
      const other = counter()
      store.onChange("a", other)
      yield* store.isolate("a")
      yield* store.reset("a")
      assert.deepStrictEqual([heard, other.calls], [2, 1])
      assert.strictEqual(store.size.listeners, 1)
    })
  )

  it.effect("leaves nothing of many that come and go", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      for (let i = 0; i < 10_000; i++) store.onChange(`${i}`, counter())()
      assert.deepStrictEqual(store.size, { circuits: 0, listeners: 0 })
    })
  )
})

const collecting = (store: CircuitBreakerStore.Service, into: Array<Transition>, paused: Effect.Effect<void>) =>
  Effect.forkChild(
    Stream.runForEach(store.changes, (transition) =>
      Effect.andThen(
        paused,
        Effect.sync(() => into.push(transition))
      )
    ),
    { startImmediately: true }
  )

describe("changes", () => {
  it.effect("tell every transition from then on, to each of their readers", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* store.isolate("before")
      const seen: Array<Array<Transition>> = [[], []]
      for (const into of seen) yield* collecting(store, into, Effect.void)
      yield* TestClock.setTime(50)
      call(store, failure)
      yield* TestClock.adjust(1000)
      call(store, success)
      call(store, { verdict: "failure", trip: { cause: "quota", millis: 5 } }, rules, "b")
      yield* store.isolate("b")
      yield* store.isolate("b")
      yield* store.reset("b")
      yield* store.reset("b")
      yield* TestClock.adjust(0)
      const expected: Array<Transition> = [
        { circuit: "a", from: "closed", to: "open", cause: "failures", at: 50 },
        { circuit: "a", from: "open", to: "halfOpen", cause: "failures", at: 1050 },
        { circuit: "a", from: "halfOpen", to: "closed", cause: undefined, at: 1050 },
        { circuit: "b", from: "closed", to: "open", cause: "quota", at: 1050 },
        { circuit: "b", from: "open", to: "isolated", cause: "isolated", at: 1050 },
        { circuit: "b", from: "isolated", to: "closed", cause: undefined, at: 1050 }
      ]
      assert.deepStrictEqual(seen, [expected, expected])
    })
  )

  it.effect("are kept for a reader that is slow, the last 256 of them: it misses the oldest", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const seen: Array<Transition> = []
      const open = yield* Latch.make(false)
      const reader = yield* collecting(store, seen, open.await)
      yield* store.isolate("first")
      yield* TestClock.adjust(0) // it has taken that one, and waits
      for (let i = 1; i <= 300; i++) yield* store.isolate(`${i}`)
      yield* open.open
      yield* TestClock.adjust(0)
      const names = seen.map(({ circuit }) => circuit)
      assert.deepStrictEqual(names, ["first", ...Array.from({ length: 256 }, (_, i) => `${i + 45}`)])
      yield* Fiber.interrupt(reader)
    })
  )

  it.effect("may be read by nobody, any number of them", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      for (let i = 0; i < 1000; i++) {
        yield* store.isolate("a")
        yield* store.reset("a")
      }
      const seen: Array<Transition> = []
      yield* collecting(store, seen, Effect.void)
      yield* store.isolate("a")
      yield* TestClock.adjust(0)
      assert.strictEqual(seen.length, 1)
    })
  )
})

const hour = Duration.hours(1)

describe("what is remembered", () => {
  it.effect("is nothing of circuits that nothing happened to", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      call(store, ignored)
      call(store, success, inARow)
      call(store, { verdict: "success", slow: true }, inARow)
      onTheSpot(store.record("a", rules, { generation: "of a circuit that is forgotten" }, failure))
      assert.strictEqual(store.size.circuits, 0)
      call(store, success, rules, "counted in a window")
      call(store, failure, inARow, "fails")
      call(store, locked, inARow, "is locked")
      onTheSpot(store.record("ignored, but locked", inARow, { generation: "" }, { ...locked, verdict: "ignored" }))
      assert.strictEqual(store.size.circuits, 4)
    })
  )

  it.effect(
    "stays bounded by what is used in some hours, however many names there are",
    () =>
      Effect.gen(function* () {
        const store = yield* memory.make
        const perHour = 10_000
        let most = 0
        for (let i = 0; i < 1_000_000; i++) {
          call(store, success, rules, `${i}`)
          if (i % perHour !== perHour - 1) continue
          most = Math.max(most, store.size.circuits)
          yield* TestClock.adjust(hour)
        }
        assert.isAtMost(most, 3 * perHour)
        assert.isAtLeast(most, perHour)
      }),
    30_000
  )

  it.effect("is a circuit until it was idle for an hour, to the millisecond", () =>
    Effect.gen(function* () {
      const others = (store: memory.MemoryCircuits) => {
        for (let i = 0; i < 5; i++) call(store, success, rules, `other ${i}`)
      }
      for (const [idle, remembered] of [
        [3_599_999, 1],
        [3_600_000, 0]
      ] as const) {
        const store = yield* memory.make
        call(store, failure, inARow)
        yield* TestClock.adjust(idle)
        others(store)
        assert.deepInclude(yield* store.read("a"), { consecutiveFailures: remembered })
      }
    })
  )

  it.effect("is a circuit that is used, and one that is isolated for as long as it takes", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* inEveryState(store)
      call(store, failure, inARow, "used")
      call(store, failure, inARow, "idle")
      for (let i = 0; i < 100; i++) {
        yield* TestClock.adjust("30 minutes")
        call(store, ignored, inARow, "used")
        for (let j = 0; j < 50; j++) call(store, success, rules, `${i} ${j}`)
      }
      assert.strictEqual(yield* stateOf(store, "isolated"), "isolated")
      assert.strictEqual((yield* store.read("used")).consecutiveFailures, 1)
      for (const name of ["idle", "open", "halfOpen"]) assert.strictEqual(yield* stateOf(store, name), "closed")
      assert.isAtMost(store.size.circuits, 4 + 4 * 100)
    })
  )

  it.effect("is an open circuit until an hour after it could have been tried", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const others = () => {
        for (let i = 0; i < 5; i++) call(store, success, rules, `${i}`)
      }
      call(store, { verdict: "failure", trip: { cause: "quota", millis: 2 * 3_600_000 } }, rules, "locked")
      others()
      yield* TestClock.adjust(3 * 3_600_000 - 1)
      for (const name of ["new 1", "new 2", "new 3"]) call(store, success, rules, name)
      assert.strictEqual(yield* stateOf(store, "locked"), "open")
      yield* TestClock.adjust(1)
      for (const name of ["new 4", "new 5", "new 6", "new 7", "new 8", "new 9"]) call(store, success, rules, name)
      assert.strictEqual(yield* stateOf(store, "locked"), "closed")
    })
  )

  it.effect("is what was forgotten as if it were new: it counts, and what was admitted before does not", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* store.reset("a")
      const late = admitted(store)
      yield* TestClock.adjust(hour)
      for (let i = 0; i < 5; i++) call(store, success, rules, `other ${i}`)
      onTheSpot(store.record("a", rules, late, failure))
      assert.strictEqual(yield* stateOf(store), "closed")
      call(store, failure)
      assert.strictEqual(yield* stateOf(store), "open")
    })
  )
})
