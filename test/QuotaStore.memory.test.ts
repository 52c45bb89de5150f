import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { QuotaStoreContract } from "effect-ballast/testing"
import * as QuotaStore from "effect-ballast/QuotaStore"
import * as memoryQuotaStore from "../src/internal/memoryQuotaStore.ts"

const advance = (millis: number) => TestClock.adjust(millis)
const ttl = Duration.minutes(1)
const at = (now: number) => TestClock.setTime(now)

const bucket: QuotaStore.Quota = { _tag: "Bucket", capacity: 1, refillPerSecond: 1 }
const concurrency: QuotaStore.Quota = { _tag: "Concurrency", limit: 1 }
const rolling: QuotaStore.Quota = { _tag: "Rolling", limit: 1, span: Duration.seconds(1), slots: 4 }

describe("the contract, in memory", () => {
  for (const { name, renews, run } of QuotaStoreContract.cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        // so late that a millisecond is no longer a small number, and in the middle of a slot
        yield* at(Date.UTC(2026, 10, 24, 12, 0, 3, 7))
        const store = renews ? yield* QuotaStore.makeMemory : yield* memoryQuotaStore.make({ renew: false })
        yield* run({ store, advance })
      })
    )
})

describe("the store in memory", () => {
  it.effect("answers on the spot", () =>
    Effect.gen(function* () {
      const store = yield* QuotaStore.makeMemory
      assert.isTrue(Exit.isExit(store.reserve("1", [{ key: "a", amount: 1, quota: bucket }], ttl)))
      assert.isTrue(Exit.isExit(store.settle("1", [1])))
      assert.isTrue(Exit.isExit(store.read([])))
      assert.isTrue(Exit.isExit(store.observe({ key: "a", amount: 1, quota: bucket })))
    })
  )

  it.effect("is one for all that share its layer", () =>
    Effect.gen(function* () {
      const seen: Array<QuotaStore.Service> = []
      const user = Layer.effectDiscard(Effect.map(QuotaStore.QuotaStore, (store) => void seen.push(store)))
      const other = Layer.effectDiscard(Effect.map(QuotaStore.QuotaStore, (store) => void seen.push(store)))
      const users = [user, other].map((layer) => Layer.provide(layer, QuotaStore.layerMemory))
      yield* Layer.build(Layer.mergeAll(Layer.empty, ...users))
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(seen[0], seen[1])
    })
  )

  it.effect("remembers a settle without a reservation for ten minutes", () =>
    Effect.gen(function* () {
      const store = yield* QuotaStore.makeMemory
      yield* store.settle("1", [])
      yield* advance(599_999)
      assert.strictEqual((yield* store.reserve("1", [], ttl))._tag, "Denied")
      yield* advance(1)
      assert.strictEqual((yield* store.reserve("1", [], ttl))._tag, "Granted")
    })
  )

  it.effect("remembers ten thousand of them, the last ones", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make()
      for (let i = 0; i < 20_000; i++) yield* store.settle(`${i}`, [])
      assert.strictEqual(store.size.marks, 10_000)
      assert.strictEqual((yield* store.reserve("10000", [], ttl))._tag, "Denied")
      assert.strictEqual((yield* store.reserve("9999", [], ttl))._tag, "Granted")
      yield* advance(600_000)
      yield* store.settle("last", [])
      assert.strictEqual(store.size.marks, 1)
    })
  )

  it.effect("remembers the last settle of a lease, and forgets the others in their order", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make()
      yield* store.settle("again", [])
      yield* store.settle("once", [])
      yield* advance(300_000)
      yield* store.settle("again", [])
      yield* advance(300_000)
      yield* store.settle("new", [])
      assert.strictEqual(store.size.marks, 2)
      assert.strictEqual((yield* store.reserve("again", [], ttl))._tag, "Denied")
      assert.strictEqual((yield* store.reserve("once", [], ttl))._tag, "Granted")
    })
  )

  it.effect("leases expire each at their own time", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make({ renew: false })
      const held = { key: "a", amount: 1, quota: { ...concurrency, limit: 3 } }
      for (const seconds of [5, 1, 9]) yield* store.reserve(`${seconds}`, [held], Duration.seconds(seconds))
      const free: Array<number | undefined> = []
      for (const millis of [999, 1, 3999, 1, 3999, 1]) {
        yield* advance(millis)
        free.push((yield* store.read([held]))[0]?.remaining)
      }
      assert.deepStrictEqual(free, [0, 1, 1, 2, 2, 3])
    })
  )

  it.effect("corrects an expired lease for ten minutes and then forgets it", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make({ renew: false })
      const entry = { key: "a", amount: 1, quota: { ...bucket, refillPerSecond: 0 } }
      yield* store.reserve("1", [entry], ttl)
      yield* store.reserve("2", [{ ...entry, key: "b" }], ttl)
      yield* advance(659_999)
      yield* store.settle("1", [0])
      yield* advance(1)
      yield* store.settle("2", [0])
      const states = yield* store.read([entry, { ...entry, key: "b" }])
      assert.deepStrictEqual(
        states.map(({ remaining }) => remaining),
        [1, 0]
      )
      assert.strictEqual(store.size.leases, 0)
    })
  )

  it.effect("an option that cannot be counted is a bug that takes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make()
      for (const quota of [
        { ...bucket, capacity: -1 },
        { ...bucket, capacity: 1.5 },
        { ...bucket, refillPerSecond: Number.NaN },
        { ...bucket, refillPerSecond: Infinity },
        { ...rolling, limit: Infinity },
        { ...rolling, slots: 0 },
        { ...rolling, span: Duration.zero },
        { ...rolling, span: Duration.infinity },
        { ...concurrency, limit: Number.NaN },
        { _tag: "Window", limit: 1, startsAt: 2, endsAt: 2 } as const
      ]) {
        const entries = [
          { key: "a", amount: 1, quota: bucket },
          { key: "b", amount: 1, quota }
        ]
        const exit = yield* Effect.exit(store.reserve("1", entries, ttl))
        assert.isTrue(Exit.isFailure(exit) && Exit.hasDies(exit), JSON.stringify(quota))
      }
      assert.deepStrictEqual(yield* store.read([{ key: "a", quota: bucket }]), [
        { remaining: 1, resetAfter: Duration.zero }
      ])
    })
  )
})

describe("memory", () => {
  const now = Date.UTC(2026, 10, 24)
  const kinds = (i: number): ReadonlyArray<QuotaStore.Quota> => [
    bucket,
    concurrency,
    rolling,
    { _tag: "Window", limit: 1, startsAt: now + i - (i % 1000), endsAt: now + i - (i % 1000) + 1000 }
  ]

  it.effect(
    "stays flat over a million keys, and is given back when they are idle",
    () =>
      Effect.gen(function* () {
        yield* at(now)
        const store = yield* memoryQuotaStore.make()
        let most = 0
        let granted = 0
        for (let i = 0; i < 250_000; i++) {
          if (i % 100 === 0) {
            yield* at(now + i)
            most = Math.max(most, store.size.accounts)
          }
          const entries = kinds(i).map((quota) => ({ key: `key ${i}`, amount: 1, quota }))
          if ((yield* store.reserve(`${i}`, entries, ttl))._tag === "Granted") granted++
          yield* store.settle(`${i}`, [1, 1, 1, 1])
        }
        assert.strictEqual(granted, 250_000)
        // a key lives for a second of a thousand keys of each kind, and until a sweep comes by
        assert.isAtMost(most, 12_000)
        yield* advance(60_000)
        const entries = kinds(309_900).map((quota) => ({ key: "one", amount: 1, quota }))
        for (let i = 0; i < 30_000; i++) {
          yield* store.reserve("again", entries, ttl)
          yield* store.settle("again", [0, 0, 0, 0])
        }
        assert.isAtMost(store.size.accounts, entries.length)
        assert.deepStrictEqual({ ...store.size, accounts: 0 }, { accounts: 0, leases: 0, marks: 0 })
      }),
    30_000
  )

  it.effect("a key that is in debt, held or partly taken is never dropped", () =>
    Effect.gen(function* () {
      yield* at(now)
      const store = yield* memoryQuotaStore.make()
      const slow: QuotaStore.Quota = { ...bucket, capacity: 100, refillPerSecond: 0.001 }
      const kept = [slow, concurrency, { ...rolling, span: Duration.hours(1) }].map((quota) => ({ key: "kept", quota }))
      yield* store.reserve(
        "kept",
        kept.map((entry) => ({ ...entry, amount: 1 })),
        ttl
      )
      for (let i = 0; i < 10_000; i++) {
        yield* store.reserve(
          `${i}`,
          kept.map((entry) => ({ ...entry, key: `${i}`, amount: 1 })),
          ttl
        )
        yield* store.settle(`${i}`, [0, 0, 0])
      }
      assert.isAtMost(store.size.accounts, 1000)
      const states = yield* store.read(kept)
      assert.deepStrictEqual(
        states.map(({ remaining }) => remaining),
        [99, 0, 0]
      )
    })
  )
})

describe("a unit of one bucket", () => {
  const slow = { _tag: "Bucket", capacity: 5, refillPerSecond: 3 } as const
  const entry = { key: "a", amount: 1, quota: slow }
  const Step = Schema.Union([
    Schema.Struct({ op: Schema.Literals(["unit", "reserve", "settle"]), amount: Schema.Literals([0, 0, 1, 2]) }),
    Schema.Struct({ op: Schema.Literal("pass"), amount: Schema.Literals([1, 100, 100, 333, 334, 1000]) })
  ])

  it.effect.prop(
    "is taken on the short path as on the long one, whatever comes between",
    [Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(80))],
    ([steps]) =>
      Effect.gen(function* () {
        const short = yield* memoryQuotaStore.make()
        const long = yield* memoryQuotaStore.make()
        const leases: Array<string> = []
        let account = short.bucket(entry)
        for (const [i, { amount, op }] of steps.entries()) {
          if (op === "pass") {
            yield* advance(amount)
            continue // to read an account lets its time pass
          }
          if (op === "unit") {
            if (!account.kept) account = short.bucket(entry)
            assert.strictEqual(short.takeUnit(account), (yield* long.take([entry]))._tag === "Granted")
          } else if (op === "reserve") {
            const entries = [{ ...entry, amount: amount + 1 }]
            leases.push(`${i}`)
            assert.deepStrictEqual(
              yield* short.reserve(`${i}`, entries, ttl),
              yield* long.reserve(`${i}`, entries, ttl)
            )
          } else {
            const lease = leases.pop() ?? "none"
            yield* short.settle(lease, [amount])
            yield* long.settle(lease, [amount])
          }
          assert.deepStrictEqual(yield* short.read([entry]), yield* long.read([entry]))
          assert.closeTo(short.taken("a"), long.taken("a"), 1e-6)
        }
      }),
    { arbitrary: { runs: 600 } }
  )
})
