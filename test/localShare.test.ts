import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Logger, Metric, References, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { StoreUnavailable } from "effect-ballast/LlmError"
import * as Metrics from "effect-ballast/Metrics"
import * as QuotaStore from "effect-ballast/QuotaStore"
import { QuotaStoreContract } from "effect-ballast/testing"
import * as localShare from "../src/internal/localShare.ts"
import * as memoryQuotaStore from "../src/internal/memoryQuotaStore.ts"
import { logged } from "./support/gates.ts"

const ttl = Duration.minutes(1)
const advance = (millis: number) => TestClock.adjust(millis)

/** A store that others share, in memory, which fails as it is told. */
class SharedStore implements QuotaStore.Service {
  /** `lost`: it acts, but its answer does not arrive. `hangs`: no answer within 250 ms. `slow`: an answer after 10 ms. `broken`: a bug. */
  mode: "up" | "broken" | "down" | "lost" | "hangs" | "slow" = "up"
  /** What hangs, whatever the mode is. */
  hanging: string | undefined
  instances: number | undefined = 2
  /** What it was asked, and what it was told. */
  readonly asked: Array<string> = []
  readonly settled: Array<readonly [lease: string, actual: ReadonlyArray<number>]> = []
  readonly reads: Array<number> = []
  readonly shared = { name: "fake", instances: () => this.instances }
  readonly inner: QuotaStore.Service
  readonly ledger: QuotaStore.Service["ledger"]

  constructor(inner: QuotaStore.Service) {
    this.inner = inner
    this.ledger = inner.ledger
  }

  readonly reserve: QuotaStore.Service["reserve"] = (lease, entries, ttl) =>
    this.answer("reserve", () => this.inner.reserve(lease, entries, ttl))

  readonly take: QuotaStore.Service["take"] = (entries) => this.answer("take", () => this.inner.take(entries))

  readonly read: QuotaStore.Service["read"] = (entries) => {
    this.reads.push(entries.length)
    return this.answer("read", () => this.inner.read(entries))
  }

  readonly observe: QuotaStore.Service["observe"] = (entry) => this.answer("observe", () => this.inner.observe(entry))

  /** As in Redis, it does not fail: it is told later. */
  readonly settle: QuotaStore.Service["settle"] = (lease, actual, charge) => {
    this.settled.push([lease, actual])
    if (this.mode === "hangs") return Effect.never
    return this.inner.settle(lease, actual, charge)
  }

  private answer<A>(operation: string, act: () => Effect.Effect<A, StoreUnavailable>) {
    this.asked.push(operation)
    const error = new StoreUnavailable({ store: "fake", operation, description: "ECONNREFUSED" })
    const failed = Effect.fail(error)
    const mode = this.hanging === operation ? "hangs" : this.mode
    if (mode === "up") return act()
    if (mode === "slow") return Effect.andThen(Effect.sleep(10), Effect.suspend(act))
    if (mode === "down") return failed
    if (mode === "broken") return Effect.failCause(Cause.combine(Cause.fail(error), Cause.die("a bug beside it")))
    return Effect.andThen(mode === "lost" ? act() : Effect.sleep(250), failed)
  }
}

const shares: QuotaStore.Outage = { instances: undefined }
const bucket: QuotaStore.Quota = { _tag: "Bucket", capacity: 10, refillPerSecond: 0.1 }
const rolling: QuotaStore.Quota = { _tag: "Rolling", limit: 10, span: Duration.minutes(1), slots: 6 }
const concurrency: QuotaStore.Quota = { _tag: "Concurrency", limit: 4 }
const day: QuotaStore.Quota = { _tag: "Window", limit: 10, startsAt: 0, endsAt: 86_400_000 }

const entry = (amount: number, more: Partial<QuotaStore.Entry> = {}): QuotaStore.Entry => ({
  key: "a",
  amount,
  quota: bucket,
  outage: shares,
  ...more
})

/** Without what it logs. */
const test = <E>(name: string, run: () => Effect.Effect<void, E>) =>
  it.effect(name, () => Effect.provideService(run(), Logger.CurrentLoggers, new Set()))

const setup = Effect.map(QuotaStore.makeMemory, (inner) => {
  const shared = new SharedStore(inner)
  const store = localShare.over(shared)
  let leases = 0
  const reserve = (...entries: ReadonlyArray<QuotaStore.Entry>) =>
    Effect.suspend(() => store.reserve(`${leases++}`, entries, ttl))
  const granted = (...entries: ReadonlyArray<QuotaStore.Entry>) =>
    Effect.map(reserve(...entries), ({ _tag }) => _tag === "Granted")
  /** How many of so many reservations of one unit go. */
  const goes = (more: Partial<QuotaStore.Entry> = {}, times = 20) =>
    Effect.map(Effect.replicateEffect(granted(entry(1, more)), times), (all) => all.filter((granted) => granted).length)
  const left = (quota: QuotaStore.Quota = bucket, key = "a") =>
    Effect.map(inner.read([{ key, quota }]), ([state]) => state?.remaining)
  /** The store fails until it is no longer asked. */
  const outage = Effect.suspend(() => {
    shared.mode = "down"
    return Effect.replicateEffect(Effect.exit(Effect.suspend(() => store.read([]))), 5)
  })
  /** It answers again, which is noticed. */
  const back = Effect.suspend(() => {
    shared.mode = "up"
    return Effect.andThen(advance(10_000), store.read([]))
  })
  const size = () => (store instanceof localShare.LocalShare ? store.size : assert.fail())
  return { shared, store, reserve, granted, goes, left, outage, back, size }
})

const stateOf = (fiber: Fiber.Fiber<unknown, unknown>) => (fiber.pollUnsafe() === undefined ? "waits" : "done")

describe("a shared store that answers", () => {
  test("is wrapped once, and a store of one process is returned as it is", () =>
    Effect.gen(function* () {
      const memory = yield* QuotaStore.makeMemory
      assert.strictEqual(localShare.over(memory), memory)
      const shared = new SharedStore(memory)
      const store = localShare.over(shared)
      assert.notStrictEqual(store, shared)
      assert.strictEqual(localShare.over(shared), store)
      assert.strictEqual(localShare.over(store), store)
      assert.notStrictEqual(localShare.over(new SharedStore(memory)), store)
      assert.strictEqual(store.shared, shared.shared)
    }))

  test("answers on the spot where it does, and with its own answer", () =>
    Effect.gen(function* () {
      const { left, store } = yield* setup
      const asked = [
        store.reserve("1", [entry(3)], ttl),
        store.take([entry(2)]),
        store.read([entry(0)]),
        store.observe(entry(4)),
        store.settle("1", [1])
      ]
      assert.isTrue(asked.every((answer) => Exit.isExit(answer) && Exit.isSuccess(answer)))
      assert.strictEqual(yield* left(), 6)
      const answer = yield* store.reserve("2", [entry(7)], ttl)
      assert.deepStrictEqual(answer, {
        _tag: "Denied",
        entry: 0,
        retryAfter: Duration.seconds(10),
        remaining: [6],
        now: 0
      })
    }))

  test("is asked once for each question where it answers later", () =>
    Effect.gen(function* () {
      const { shared, store } = yield* setup
      shared.mode = "slow"
      const fiber = yield* Effect.forkChild(Effect.all([store.reserve("1", [entry(3)], ttl), store.take([entry(2)])]))
      yield* advance(19)
      assert.strictEqual(stateOf(fiber), "waits")
      yield* advance(1)
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).map(({ remaining }) => remaining),
        [[7], [5]]
      )
      assert.deepStrictEqual(shared.asked, ["reserve", "take"])
    }))
})

describe("the contract, of a shared store that answers", () => {
  for (const { name, renews, run } of QuotaStoreContract.cases)
    test(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.UTC(2026, 10, 24, 12, 0, 3, 7))
        const inner = yield* memoryQuotaStore.make({ renew: renews })
        yield* run({ store: localShare.over(new SharedStore(inner)), advance })
      })
    )
})

describe("a store that fails", () => {
  test("is asked after four failures and not after five", () =>
    Effect.gen(function* () {
      const { granted, shared } = yield* setup
      shared.mode = "down"
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* granted(entry(1)), true)
      assert.strictEqual(shared.asked.length, 5)
      assert.strictEqual(yield* granted(entry(1)), false)
      assert.strictEqual(shared.asked.length, 5)
    }))

  test("is asked on where it answers between, and its failures are counted anew", () =>
    Effect.gen(function* () {
      const { shared, store } = yield* setup
      for (const mode of ["down", "up", "down"] as const) {
        shared.mode = mode
        for (let i = 0; i < 4; i++) yield* Effect.exit(store.read([]))
      }
      assert.strictEqual(shared.asked.length, 12)
      yield* Effect.exit(store.read([]))
      yield* Effect.exit(store.read([]))
      assert.strictEqual(shared.asked.length, 13)
    }))

  test("counts failures of whatever it is asked", () =>
    Effect.gen(function* () {
      const { granted, shared, store } = yield* setup
      shared.mode = "down"
      yield* Effect.exit(store.read([]))
      yield* Effect.exit(store.observe(entry(1)))
      yield* Effect.exit(store.take([entry(1, { outage: undefined })]))
      yield* store.take([entry(1)])
      yield* granted(entry(1))
      yield* granted(entry(1))
      assert.deepStrictEqual(shared.asked, ["read", "observe", "take", "take", "reserve"])
    }))

  test("is asked again after ten seconds", () =>
    Effect.gen(function* () {
      const { granted, outage, shared } = yield* setup
      yield* outage
      yield* advance(9999)
      yield* granted(entry(1))
      assert.strictEqual(shared.asked.length, 5)
      yield* advance(1)
      yield* granted(entry(1))
      assert.strictEqual(shared.asked.length, 6)
    }))

  test("is asked one question then, while all others are answered here, and another one ten seconds later", () =>
    Effect.gen(function* () {
      const { granted, outage, shared } = yield* setup
      yield* outage
      yield* advance(10_000)
      shared.mode = "hangs"
      const probe = yield* Effect.forkChild(granted(entry(1)), { startImmediately: true })
      assert.isTrue(yield* granted(entry(1)))
      assert.strictEqual(shared.asked.length, 6)
      assert.strictEqual(stateOf(probe), "waits")
      yield* advance(250)
      assert.isTrue(yield* Fiber.join(probe))
      shared.mode = "up"
      yield* advance(9999)
      yield* granted(entry(1))
      assert.strictEqual(shared.asked.length, 6)
      yield* advance(1)
      yield* granted(entry(1))
      yield* granted(entry(1))
      assert.deepStrictEqual(shared.asked.slice(6, 8), ["reserve", "read"])
      assert.strictEqual(shared.asked.filter((operation) => operation === "reserve").length, 3)
    }))

  test("is asked another question ten seconds after a probe that was interrupted or hangs for ever", () =>
    Effect.gen(function* () {
      const { outage, shared, store } = yield* setup
      yield* outage
      yield* advance(10_000)
      shared.mode = "hangs"
      const probe = yield* Effect.forkChild(store.read([]), { startImmediately: true })
      yield* Fiber.interrupt(probe)
      shared.mode = "up"
      yield* advance(9999)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.read([]))))
      yield* advance(1)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(store.read([]))))
    }))

  test("an answer to a question from before the outage neither ends nor prolongs it", () =>
    Effect.gen(function* () {
      const { granted, outage, shared, store } = yield* setup
      shared.mode = "slow"
      const early = yield* Effect.forkChild(store.read([]), { startImmediately: true })
      shared.mode = "hangs"
      const late = yield* Effect.forkChild(Effect.exit(store.read([])), { startImmediately: true })
      yield* outage
      yield* granted(entry(1))
      yield* advance(10)
      yield* Fiber.join(early)
      yield* granted(entry(1))
      yield* advance(240)
      yield* Fiber.join(late)
      yield* advance(9749)
      yield* granted(entry(1))
      assert.strictEqual(shared.asked.length, 7)
      yield* advance(1)
      yield* granted(entry(1))
      assert.strictEqual(shared.asked.length, 8)
    }))

  test("is asked at once when the clock is put back", () =>
    Effect.gen(function* () {
      const { outage, shared, store } = yield* setup
      yield* TestClock.setTime(1_000_000)
      yield* outage
      shared.mode = "up"
      yield* TestClock.setTime(0)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(store.read([]))))
    }))

  test("does not count what the store answered itself", () =>
    Effect.gen(function* () {
      const inner = yield* QuotaStore.makeMemory
      const refused = new StoreUnavailable({ store: "fake", operation: "reserve", description: "lost", answered: true })
      const store = localShare.over({
        ...inner,
        shared: { name: "fake", instances: () => 2 },
        reserve: (lease, entries, ttl) =>
          entries.some(({ outage }) => outage === undefined) ? Effect.fail(refused) : inner.reserve(lease, entries, ttl)
      })
      for (let i = 0; i < 20; i++)
        assert.strictEqual(yield* Effect.flip(store.reserve(`${i}`, [entry(1, { outage: undefined })], ttl)), refused)
      // not from a share of half of it, but from the store
      assert.strictEqual((yield* store.reserve("all", [entry(10)], ttl))._tag, "Granted")
    }))

  test("does not count a bug, an interruption or a settle", () =>
    Effect.gen(function* () {
      const { granted, outage, reserve, shared, store } = yield* setup
      for (let i = 0; i < 5; i++) assert.isTrue(Exit.hasDies(yield* Effect.exit(reserve(entry(-1)))))
      shared.mode = "broken"
      for (let i = 0; i < 5; i++) assert.isTrue(Exit.hasDies(yield* Effect.exit(reserve(entry(1)))))
      shared.mode = "hangs"
      for (let i = 0; i < 5; i++)
        yield* Fiber.interrupt(yield* Effect.forkChild(store.read([]), { startImmediately: true }))
      shared.mode = "up"
      assert.isTrue(yield* granted(entry(1)))
      assert.strictEqual(shared.asked.length, 16)
      yield* outage
      shared.mode = "up"
      yield* store.settle("unknown", [])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.read([]))))
      assert.strictEqual(shared.asked.length, 21)
    }))
})

describe("in an outage", () => {
  test("this process takes its share: of as many as it is told, or were last seen, and then never of one", () =>
    Effect.gen(function* () {
      for (const [told, seen, expected] of [
        [undefined, undefined, 5],
        [undefined, 1, 5],
        [undefined, 2, 5],
        [undefined, 4, 2],
        [undefined, 40, 1],
        [1, 4, 10],
        [3, 4, 3],
        [5, undefined, 2]
      ] as const) {
        const { goes, outage, shared } = yield* setup
        shared.instances = seen
        yield* outage
        assert.strictEqual(yield* goes({ outage: { instances: told } }), expected, `${told} of ${seen}`)
      }
    }))

  test("every kind of quota has a share, at least one and none of nothing", () =>
    Effect.gen(function* () {
      const { goes, outage, shared } = yield* setup
      yield* outage
      const most = function* () {
        const found: Array<number> = []
        for (const quota of [bucket, rolling, day, concurrency]) {
          for (const limit of [0, 1, 9]) {
            const key = `${shared.instances} ${limit}`
            found.push(
              yield* goes({ key, quota: { ...quota, ...(quota._tag === "Bucket" ? { capacity: limit } : { limit }) } })
            )
          }
        }
        return found
      }
      assert.deepStrictEqual(yield* most(), [0, 1, 4, 0, 1, 4, 0, 1, 4, 0, 1, 4])
      shared.instances = 4
      assert.deepStrictEqual(yield* most(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    }))

  test("a share of a bucket refills as slowly as it is small", () =>
    Effect.gen(function* () {
      const { goes, granted, outage } = yield* setup
      yield* outage
      assert.strictEqual(yield* goes(), 5)
      yield* advance(19_999)
      // the probe fails as well and is answered here
      assert.isFalse(yield* granted(entry(1)))
      yield* advance(1)
      assert.isTrue(yield* granted(entry(1)))
      assert.isFalse(yield* granted(entry(1)))
    }))

  test("a request larger than the share takes all of it and leaves a debt, unless it never fits the quota", () =>
    Effect.gen(function* () {
      const { granted, outage, reserve, store } = yield* setup
      yield* outage
      assert.isFalse(yield* granted(entry(11)))
      assert.deepInclude(yield* store.reserve("large", [entry(10)], ttl), { _tag: "Granted", remaining: [0] })
      yield* store.settle("large", [8])
      const denied = yield* reserve(entry(1))
      assert.deepInclude(denied, { _tag: "Denied", remaining: [-3], retryAfter: Duration.seconds(80) })
    }))

  test("a lease without a word settles to its whole amount, not to the share of it", () =>
    Effect.gen(function* () {
      const { outage, reserve, store } = yield* setup
      yield* outage
      yield* store.reserve("large", [entry(9)], ttl)
      yield* store.settle("large", [])
      assert.deepInclude(yield* reserve(entry(1)), { remaining: [-4] })
    }))

  test("all or nothing is taken, and a denial names the entry, its wait and what is left of each", () =>
    Effect.gen(function* () {
      const { outage, reserve } = yield* setup
      yield* outage
      const allowed = entry(1, { key: "b", outage: "allow", quota: { ...bucket, capacity: 7 } })
      const held = entry(1, { key: "c", quota: concurrency })
      assert.deepInclude(yield* reserve(allowed, entry(4), held), { _tag: "Granted", remaining: [7, 1, 1] })
      const denied = yield* reserve(allowed, held, entry(3))
      assert.deepStrictEqual(denied, {
        _tag: "Denied",
        entry: 2,
        retryAfter: Duration.seconds(40),
        remaining: [7, 1, 1],
        now: 0
      })
      const full = yield* reserve(entry(0), allowed, { ...held, amount: 2 })
      assert.deepStrictEqual(full, { _tag: "Denied", entry: 2, remaining: [1, 7, 1], now: 0 })
    }))

  test("what is allowed counts as granted, and its lease is not the store's", () =>
    Effect.gen(function* () {
      const { left, outage, shared, size, store } = yield* setup
      yield* outage
      const allowed = entry(99, { outage: "allow" })
      for (let i = 0; i < 20; i++)
        assert.deepStrictEqual(yield* store.reserve(`${i}`, [allowed], ttl), {
          _tag: "Granted",
          remaining: [10],
          now: 0
        })
      assert.deepInclude(yield* store.take([allowed]), { _tag: "Granted", remaining: [10] })
      assert.strictEqual(size().leases, 20)
      for (let i = 0; i < 20; i++) yield* store.settle(`${i}`, [99])
      assert.strictEqual(size().leases, 0)
      assert.deepStrictEqual(shared.settled, [])
      assert.strictEqual(yield* left(), 10)
    }))

  test("an entry that says nothing fails, and so does what it is part of", () =>
    Effect.gen(function* () {
      const { goes, outage, reserve, shared, store } = yield* setup
      shared.mode = "down"
      const entries = [entry(1), entry(1, { key: "b", outage: undefined })]
      assert.strictEqual((yield* Effect.flip(reserve(...entries))).description, "ECONNREFUSED")
      assert.strictEqual((yield* Effect.flip(store.take(entries))).description, "ECONNREFUSED")
      yield* outage
      for (const [operation, failed] of [
        ["reserve", Effect.asVoid(reserve(...entries))],
        ["take", Effect.asVoid(store.take(entries))],
        ["read", Effect.asVoid(store.read(entries))]
      ] as const) {
        const error = yield* Effect.flip(failed)
        assert.instanceOf(error, StoreUnavailable)
        assert.deepStrictEqual(
          [error.store, error.operation, error.description],
          ["fake", operation, "not asked after 5 failures"]
        )
      }
      assert.strictEqual(yield* goes(), 5)
    }))

  test("what was granted here settles here, also when the store is back", () =>
    Effect.gen(function* () {
      const { back, goes, outage, shared, size, store } = yield* setup
      const held = entry(1, { key: "c", quota: concurrency })
      yield* store.reserve("before", [held], ttl)
      yield* outage
      yield* store.reserve("1", [entry(5), held], ttl)
      yield* store.reserve("2", [held], ttl)
      assert.deepInclude(yield* store.reserve("3", [held], ttl), { _tag: "Denied" })
      yield* store.settle("1", [2, 0])
      yield* store.settle("before", [1])
      assert.deepStrictEqual(shared.settled, [["before", [1]]])
      assert.strictEqual(yield* goes(), 3)
      yield* back
      yield* store.settle("2", [1])
      assert.strictEqual(shared.settled.length, 1)
      yield* store.settle("2", [1])
      assert.strictEqual(shared.settled.length, 2)
      assert.strictEqual(size().leases, 3)
    }))

  test("a reservation or a take that is interrupted at any point leaves nothing behind", () =>
    Effect.gen(function* () {
      const { goes, outage, size, store } = yield* setup
      yield* outage
      const held = { key: "c", quota: { ...concurrency, limit: 2 } }
      for (let ops = 3; ops < 40; ops++) {
        const asked = Effect.andThen(
          Effect.suspend(() => store.take([entry(1, held)])),
          Effect.suspend(() => store.reserve("cut off", [entry(1, held)], ttl))
        )
        const yielding = Effect.provideService(asked, Scheduler.MaxOpsBeforeYield, ops)
        yield* Fiber.interrupt(yield* Effect.forkChild(yielding, { startImmediately: true }))
        yield* store.settle("cut off", [0])
        assert.deepStrictEqual(size(), { leases: 0, cancels: 0 })
        assert.deepInclude(yield* store.reserve("next", [entry(1, held)], ttl), { _tag: "Granted" })
        assert.strictEqual(yield* goes(held, 1), 0)
        yield* store.settle("next", [0])
      }
    }))

  test("takes without a lease, whole amounts, and asks whether there is room", () =>
    Effect.gen(function* () {
      const { goes, outage, size, store } = yield* setup
      yield* outage
      const held = entry(1, { key: "c", quota: concurrency })
      assert.deepInclude(yield* store.take([held, entry(2)]), { _tag: "Granted", remaining: [1, 3] })
      assert.strictEqual(yield* goes({ key: "c", quota: concurrency }), 2)
      assert.deepInclude(yield* store.take([entry(1), held]), { _tag: "Denied", entry: 1, remaining: [3, 0] })
      assert.strictEqual(size().leases, 2)
      assert.deepInclude(yield* store.take([entry(3)]), { _tag: "Granted" })
      assert.deepInclude(yield* store.take([entry(1)]), { _tag: "Denied", remaining: [0] })
      assert.deepInclude(yield* store.take([entry(8, { key: "b" })]), { _tag: "Granted" })
      assert.deepInclude(yield* store.take([entry(1, { key: "b" })]), { _tag: "Denied", remaining: [-3] })
    }))

  test("what is observed is dropped, and fails where the store was asked", () =>
    Effect.gen(function* () {
      const { goes, left, outage, shared, store } = yield* setup
      shared.mode = "down"
      assert.strictEqual((yield* Effect.flip(store.observe(entry(1)))).operation, "observe")
      yield* outage
      yield* store.observe(entry(1))
      assert.strictEqual(shared.asked.filter((operation) => operation === "observe").length, 1)
      assert.strictEqual(yield* goes(), 5)
      assert.strictEqual(yield* left(), 10)
    }))
})

describe("a reservation whose answer is lost", () => {
  test("is cancelled in the store, and one that was not asked for is not", () =>
    Effect.gen(function* () {
      const { granted, left, outage, shared, store } = yield* setup
      shared.mode = "lost"
      assert.isTrue(yield* granted(entry(3), entry(1, { key: "b", outage: "allow" })))
      assert.strictEqual(yield* left(), 10)
      assert.deepStrictEqual(shared.settled, [["0", [0, 0]]])
      yield* store.settle("0", [3, 1])
      assert.strictEqual(shared.settled.length, 1)
      yield* outage
      assert.isTrue(yield* granted(entry(1)))
      assert.strictEqual(shared.settled.length, 1)
    }))

  test("is cancelled where it is denied here as well", () =>
    Effect.gen(function* () {
      const { granted, left, shared } = yield* setup
      shared.mode = "lost"
      assert.isTrue(yield* granted(entry(5)))
      assert.isFalse(yield* granted(entry(5)))
      assert.strictEqual(yield* left(), 10)
      assert.strictEqual(shared.settled.length, 2)
    }))

  test("is the caller's to settle where it fails or is interrupted", () =>
    Effect.gen(function* () {
      const { left, shared, store } = yield* setup
      shared.mode = "lost"
      yield* Effect.flip(store.reserve("1", [entry(3, { outage: undefined })], ttl))
      assert.deepStrictEqual(shared.settled, [])
      yield* store.settle("1", [0])
      shared.mode = "hangs"
      yield* Fiber.interrupt(yield* Effect.forkChild(store.reserve("2", [entry(3)], ttl), { startImmediately: true }))
      shared.mode = "up"
      yield* store.settle("2", [0])
      assert.deepStrictEqual(shared.settled, [
        ["1", [0]],
        ["2", [0]]
      ])
      assert.strictEqual(yield* left(), 10)
    }))

  test("is cancelled without a wait, a thousand of them at the same time", () =>
    Effect.gen(function* () {
      const { granted, shared, size } = yield* setup
      shared.mode = "hangs"
      const allowed = Effect.replicateEffect(granted(entry(1, { outage: "allow" })), 1001, { concurrency: "unbounded" })
      const fiber = yield* Effect.forkChild(allowed, { startImmediately: true })
      yield* advance(250)
      assert.isTrue((yield* Fiber.join(fiber)).every((granted) => granted))
      assert.strictEqual(shared.settled.length, 1000)
      assert.deepStrictEqual(size(), { leases: 1001, cancels: 1000 })
    }))

  test("is remembered no longer than its cancellation takes", () =>
    Effect.gen(function* () {
      const { granted, shared, size } = yield* setup
      shared.mode = "lost"
      for (let i = 0; i < 4; i++) yield* granted(entry(1))
      assert.strictEqual(size().cancels, 0)
    }))
})

describe("when the store is back", () => {
  test("what was taken here is booked there, as far as it still counts", () =>
    Effect.gen(function* () {
      const { back, goes, left, outage, store } = yield* setup
      yield* store.take([entry(5), entry(5, { quota: rolling })])
      yield* outage
      assert.strictEqual(yield* goes(), 5)
      assert.strictEqual(yield* goes({ quota: rolling }), 5)
      assert.strictEqual(yield* goes({ quota: day }, 3), 3)
      yield* advance(10_000)
      // the bucket there has 7 by then, and the share here got back one of its five
      yield* back
      assert.deepStrictEqual([yield* left(), yield* left(rolling), yield* left(day)], [3, 0, 7])
    }))

  test("a debt may remain", () =>
    Effect.gen(function* () {
      const { back, left, outage, store } = yield* setup
      yield* store.take([entry(10, { quota: day }), entry(10, { quota: rolling })])
      yield* outage
      yield* store.take([entry(7, { quota: day }), entry(2, { quota: rolling })])
      yield* back
      assert.deepStrictEqual([yield* left(day), yield* left(rolling)], [-7, -2])
    }))

  test("also after failures that were too few for an outage", () =>
    Effect.gen(function* () {
      const { granted, left, shared, store } = yield* setup
      shared.mode = "down"
      yield* granted(entry(3))
      shared.mode = "up"
      yield* store.read([])
      assert.strictEqual(yield* left(), 7)
    }))

  test("nothing is booked of what was allowed, held, denied, given back or taken of nothing", () =>
    Effect.gen(function* () {
      const { back, granted, left, outage, shared, store } = yield* setup
      yield* outage
      yield* granted(entry(1, { outage: "allow" }), entry(1, { quota: concurrency }), entry(0))
      yield* granted(entry(11))
      yield* store.reserve("1", [entry(4)], ttl)
      yield* store.settle("1", [0])
      yield* back
      assert.deepStrictEqual([yield* left(), yield* left(concurrency)], [10, 4])
      assert.notInclude(shared.asked, "observe")
    }))

  test("what was settled counts, not what was reserved", () =>
    Effect.gen(function* () {
      const { back, left, outage, store } = yield* setup
      yield* outage
      yield* store.reserve("1", [entry(4, { quota: day })], ttl)
      yield* store.settle("1", [1])
      yield* store.reserve("2", [entry(10, { quota: day, key: "b" })], ttl)
      yield* store.settle("2", [12])
      yield* store.reserve("3", [entry(1, { outage: "allow" }), entry(4, { quota: day })], ttl)
      yield* store.settle("3", [9, 1])
      yield* back
      assert.deepStrictEqual([yield* left(day), yield* left(day, "b")], [8, -2])
    }))

  test("a call that goes on is booked as reserved, and later what it used beyond that, never less", () =>
    Effect.gen(function* () {
      const { back, left, outage, store } = yield* setup
      yield* outage
      yield* store.reserve("1", [entry(2, { quota: day })], ttl)
      yield* store.reserve("2", [entry(2, { quota: day, key: "b" })], ttl)
      yield* back
      yield* store.settle("1", [3])
      yield* store.settle("2", [1])
      assert.deepStrictEqual([yield* left(day), yield* left(day, "b")], [8, 8])
      yield* store.read([])
      assert.deepStrictEqual([yield* left(day), yield* left(day, "b")], [7, 8])
    }))

  test("nothing is booked twice, and the share that was taken stays taken", () =>
    Effect.gen(function* () {
      const { back, goes, left, outage } = yield* setup
      yield* outage
      assert.strictEqual(yield* goes({ quota: day }, 3), 3)
      yield* back
      yield* back
      assert.strictEqual(yield* left(day), 7)
      yield* outage
      assert.strictEqual(yield* goes({ quota: day }), 2)
      yield* back
      assert.strictEqual(yield* left(day), 5)
    }))

  test("of a long outage only what a share holds is booked", () =>
    Effect.gen(function* () {
      const { back, left, outage, store } = yield* setup
      yield* outage
      for (let i = 0; i < 30; i++) {
        yield* store.take([entry(1)])
        yield* advance(20_000)
      }
      yield* store.take([entry(2)])
      yield* back
      assert.strictEqual(yield* left(), 8)
    }))

  test("nobody waits for it, and what failed is tried again after the next success that is a second later", () =>
    Effect.gen(function* () {
      const { goes, left, outage, shared, store } = yield* setup
      yield* outage
      yield* goes({ quota: day }, 3)
      yield* advance(10_000)
      shared.mode = "up"
      shared.hanging = "observe"
      const run = Effect.gen(function* () {
        yield* store.read([])
        yield* advance(249)
        shared.hanging = undefined
        yield* store.read([])
        assert.strictEqual(yield* left(day), 10)
        yield* advance(1)
        yield* advance(999)
        yield* store.read([])
        assert.strictEqual(yield* left(day), 10)
        yield* advance(1)
        assert.strictEqual(yield* left(day), 10)
        yield* store.read([])
        assert.strictEqual(yield* left(day), 7)
        yield* store.read([])
      })
      const { exit, lines } = yield* logged(Effect.provideService(run, References.MinimumLogLevel, "Debug"))
      yield* exit
      assert.deepStrictEqual(lines, [
        "Quota store fake answers again",
        "What was taken without quota store fake could not be booked yet"
      ])
      assert.strictEqual(shared.asked.filter((operation) => operation === "observe").length, 2)
    }))

  test("the thousand accounts that were used last are booked, a hundred by one question", () =>
    Effect.gen(function* () {
      const { back, left, outage, shared, store } = yield* setup
      yield* outage
      const take = (key: string) => store.take([entry(1, { key, quota: day })])
      for (let i = 0; i < 1000; i++) yield* take(`${i}`)
      yield* take("0")
      yield* take("new")
      shared.reads.length = 0
      yield* back
      assert.deepStrictEqual(shared.reads, [0, ...Array.from({ length: 10 }, () => 100)])
      const found: Array<number | undefined> = []
      for (const key of ["0", "1", "2", "999", "new"]) found.push(yield* left(day, key))
      assert.deepStrictEqual(found, [8, 10, 9, 9, 9])
    }))
})

describe("an outage is visible", () => {
  test("is logged once when it begins and once when it ends, with nothing of the callers", () =>
    Effect.gen(function* () {
      const { back, goes, outage, shared } = yield* setup
      const run = Effect.gen(function* () {
        yield* outage
        yield* goes({ key: "tenant secret" })
        shared.mode = "down"
        yield* advance(10_000)
        yield* goes({ key: "tenant secret" })
        yield* back
        yield* back
      })
      const { exit, lines } = yield* logged(run)
      yield* exit
      assert.deepStrictEqual(lines, [
        "Quota store fake does not answer (read: ECONNREFUSED): limits go on with this process's share",
        "Quota store fake answers again"
      ])
    }))

  test("counts the answers given without the store", () =>
    Effect.gen(function* () {
      const { goes, granted, outage, store } = yield* setup
      const count = Effect.map(
        Metric.value(Metric.withAttributes(Metrics.storeFallbacks, { store: "fake" })),
        ({ count }) => count
      )
      assert.strictEqual(yield* goes({}, 3), 3)
      assert.strictEqual(yield* count, 0)
      yield* outage
      yield* Effect.exit(granted(entry(1, { outage: undefined })))
      assert.strictEqual(yield* count, 0)
      assert.strictEqual(yield* goes({}, 7), 5)
      yield* store.take([entry(1, { outage: "allow" })])
      assert.strictEqual(yield* count, 8)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
