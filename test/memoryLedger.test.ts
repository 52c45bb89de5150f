import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import type { Subject } from "effect-ballast/Ledger"
import type * as QuotaStore from "effect-ballast/QuotaStore"
import * as memoryQuotaStore from "../src/internal/memoryQuotaStore.ts"

const ttl = Duration.minutes(1)
const now = Date.UTC(2026, 10, 28)
const day: QuotaStore.Quota = {
  _tag: "Window",
  limit: Number.MAX_SAFE_INTEGER,
  startsAt: now,
  endsAt: now + 86_400_000
}
const rolling: QuotaStore.Quota = { _tag: "Rolling", limit: day.limit, span: Duration.hours(1), slots: 60 }
const subject: Subject = { call: "c", provider: "p", model: "m", day: "2026-11-28", prices: "table" }

const made = Effect.andThen(TestClock.setTime(now), memoryQuotaStore.make())

const charge = (store: memoryQuotaStore.MemoryQuotaStore, id: string, amount: number, of: Partial<Subject> = {}) => {
  const entries = [day, rolling].map((quota) => ({ key: "a", amount: 1, quota, subject: { ...subject, ...of } }))
  assert.isTrue(Exit.isSuccess(onTheSpot(store.reserve(id, entries, ttl))))
  onTheSpot(store.settle(id, [amount, amount], { outcome: "answered" }))
}

/** The store acts when it is called. */
const onTheSpot = <A, E>(answer: Effect.Effect<A, E>): Exit.Exit<A, E> => {
  assert.isTrue(Exit.isExit(answer))
  return answer as Exit.Exit<A, E> // as was just seen
}

describe("the ledger in memory", () => {
  it.effect(
    "is exact over a million charges, and keeps the last ten thousand lines",
    () =>
      Effect.gen(function* () {
        const store = yield* made
        let expected = 0n
        for (let i = 0; i < 1_000_000; i++) {
          // odd amounts up to 9 USD, whose sum stays a safe integer
          const amount = (i * 7_368_787) % 8_999_999_999
          expected += BigInt(amount)
          charge(store, `${i}`, amount)
          if (i % 1000 === 0) yield* TestClock.adjust(1)
        }
        const [sum] = yield* store.ledger.report({ by: [] })
        assert.strictEqual(sum?.amount, Number(expected))
        assert.isTrue(Number.isSafeInteger(sum?.amount))
        assert.strictEqual(sum?.charges, 1_000_000)
        assert.deepStrictEqual(yield* store.ledger.check, [])
        const [left] = yield* store.read([{ key: "a", quota: day }])
        assert.strictEqual(left?.remaining, day.limit - Number(expected))
        assert.deepInclude(store.ledger.size, { lines: 10_000, rows: 1 })
      }),
    60_000
  )

  it.effect("tells at most a hundred thousand callers apart, and no sum is lost beyond them", () =>
    Effect.gen(function* () {
      const store = yield* made
      for (let i = 0; i < 100_050; i++) charge(store, `${i}`, 3, { tenant: `${i}` })
      assert.isAtMost(store.ledger.size.rows, 100_001)
      assert.deepInclude((yield* store.ledger.report({ by: [] }))[0], { amount: 3 * 100_050, charges: 100_050 })
      const [others] = yield* store.ledger.report({ by: ["tenant"] })
      assert.notProperty(others, "tenant")
    })
  )

  it.effect("keeps four hundred days, and no counter whose window has ended", () =>
    Effect.gen(function* () {
      const store = yield* made
      for (let i = 0; i < 1200; i++) {
        const date = new Date(now + i * 86_400_000).toISOString().slice(0, 10)
        const startsAt = now + i * 86_400_000
        const quota: QuotaStore.Quota = { ...day, startsAt, endsAt: startsAt + 86_400_000 }
        const entry = { key: "a", amount: 1, quota, subject: { ...subject, day: date } }
        yield* store.reserve(`${i}`, [entry], ttl)
        yield* store.settle(`${i}`, [1])
        yield* TestClock.adjust("1 day")
      }
      const days = yield* store.ledger.report({ by: ["day"] })
      assert.strictEqual(days.length, 400)
      assert.isAtMost(store.ledger.size.counters, 1024)
      yield* store.ledger.forget("nobody")
      assert.strictEqual((yield* store.ledger.report({ by: [] }))[0]?.amount, 400)
    })
  )

  it.effect("shows a hundred lines if nothing else is asked for, and a thousand at most", () =>
    Effect.gen(function* () {
      const store = yield* made
      for (let i = 0; i < 2000; i++) charge(store, `${i}`, 1)
      const counts = yield* Effect.forEach([undefined, 0, -1, 5, 1000, 9999], (limit) =>
        Effect.map(store.ledger.lines(limit), ({ length }) => length)
      )
      assert.deepStrictEqual(counts, [100, 0, 0, 5, 1000, 1000])
    })
  )
})
