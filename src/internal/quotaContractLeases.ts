/** Cases of the contract: how reservations end, and how quotas learn of it. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Quota } from "../QuotaStore.ts"
import {
  type Case,
  bucket,
  concurrency,
  hourFrom,
  of,
  promise,
  rolling,
  seconds,
  slack,
  ttl,
  whenHoldersDie
} from "./quotaContract.ts"

export const leases: ReadonlyArray<Case> = [
  promise("a settle gives back what was not used, and never more than the bucket holds", function* (store, advance) {
    const take = of(bucket)
    yield* store.granted("1", take(5))
    yield* store.settle("1", 2)
    strictEqual(yield* store.left(take(0)), 8)
    yield* store.granted("2", take(8))
    yield* advance(seconds(90))
    yield* store.settle("2", 0)
    strictEqual(yield* store.left(take(0)), 10)
  }),
  promise("a bucket does not give back what it has refilled meanwhile", function* (store, advance) {
    const take = of(bucket)
    yield* store.granted("1", take(6))
    yield* advance(seconds(40))
    yield* store.granted("2", take(8))
    yield* store.settle("1", 0)
    // only 2 of the 6 had not been refilled when "2" was admitted
    strictEqual(yield* store.left(take(0)), 2)
    yield* store.settle("2", 8)
    yield* store.denied("3", [take(3)], 0, seconds(10))
  }),
  promise("a bucket that was never emptied gives back in full what ends in time", function* (store, advance) {
    const take = of({ ...bucket, capacity: 100 })
    yield* store.granted("1", take(60))
    yield* advance(seconds(100))
    yield* store.granted("2", take(20))
    yield* advance(seconds(100))
    yield* store.settle("2", 5)
    strictEqual(yield* store.left(take(0)), 55)
  }),
  promise("a bucket whose refill was changed gives nothing back to those before", function* (store, advance) {
    const take = of(bucket)
    yield* store.granted("1", take(6))
    yield* advance(seconds(1))
    yield* store.granted("2", of({ ...bucket, refillPerSecond: 0.2 })(1))
    yield* store.settle("1", 0)
    strictEqual(yield* store.left(take(0)), 3)
  }),
  promise("a settle of more than was reserved leaves a debt that time pays", function* (store, advance) {
    for (const [quota, wait] of [
      [bucket, 70],
      [rolling, 70]
    ] as const) {
      const take = of(quota, quota._tag)
      yield* store.granted(quota._tag, take(1))
      yield* store.settle(quota._tag, 16)
      strictEqual(yield* store.left(take(0)), -6)
      const answer = yield* store.reserve(`${quota._tag}-2`, take(1))
      ok(answer._tag === "Denied" && answer.retryAfter !== undefined)
      ok(Duration.toMillis(answer.retryAfter) <= seconds(wait))
      yield* store.denied(`${quota._tag}-3`, [take(0)], 0, Duration.toMillis(answer.retryAfter) - waitOfNothing(quota))
      yield* advance(Duration.toMillis(answer.retryAfter))
      yield* store.granted(`${quota._tag}-4`, take(1))
    }
  }),
  promise("the first settle of a lease counts", function* (store) {
    yield* store.granted("1", of(bucket)(5))
    yield* store.settle("1", 3)
    yield* store.settle("1", 0)
    yield* store.settle("1", 10)
    strictEqual(yield* store.left(of(bucket)(0)), 7)
  }),
  promise("an entry of which a settle says nothing that can be counted used what it reserved", function* (store) {
    const keys = ["a", "b", "c", "d"]
    yield* store.granted("1", ...keys.map((key) => of(bucket, key)(4)))
    yield* store.settle("1", 1, Number.NaN, -1)
    const left = yield* Effect.forEach(keys, (key) => store.left(of(bucket, key)(0)))
    deepStrictEqual(left, [9, 6, 6, 6])
  }),
  promise("refuses a reservation that arrives behind its settle", function* (store) {
    yield* store.settle("1", 0)
    deepStrictEqual(yield* store.denied("1", [of(bucket)(5), of(concurrency)(1)], 0, undefined), [10, 2])
    strictEqual(yield* store.left(of(concurrency)(0)), 2)
    yield* store.granted("2", of(bucket)(10))
  }),
  promise("refuses a second reservation under the name of one that is open", function* (store) {
    yield* store.granted("1", of(bucket)(5))
    deepStrictEqual(yield* store.denied("1", [of(bucket)(1)], 0, undefined), [5])
    yield* store.settle("1", 0)
    strictEqual(yield* store.left(of(bucket)(0)), 10)
  }),
  promise("a rolling quota is corrected where it was taken, and no more when that is past", function* (store, advance) {
    const take = of(rolling)
    yield* store.granted("1", take(4))
    yield* store.granted("2", take(4))
    yield* advance(seconds(40))
    yield* store.settle("1", 6)
    strictEqual(yield* store.left(take(0)), 0)
    yield* advance(seconds(30))
    strictEqual(yield* store.left(take(0)), 10)
    yield* store.settle("2", 9)
    strictEqual(yield* store.left(take(0)), 10)
  }),
  promise("a late settle is booked in the window that admitted the call", function* (store, advance) {
    const startsAt = yield* store.now
    const first = of(hourFrom(startsAt))
    const second = of(hourFrom(startsAt + seconds(3600)))
    yield* store.granted("1", first(2))
    yield* store.granted("2", first(6))
    yield* store.settle("1", 4)
    strictEqual(yield* store.left(first(0)), 0)
    yield* advance(seconds(3600))
    yield* store.granted("3", second(3))
    yield* store.settle("2", 10)
    strictEqual(yield* store.left(second(0)), 7)
  }),
  promise("a window may go into debt", function* (store) {
    const take = of(hourFrom(yield* store.now))
    yield* store.granted("1", take(10))
    yield* store.settle("1", 25)
    strictEqual(yield* store.left(take(0)), -15)
    yield* store.denied("2", [take(1)], 0, seconds(3600))
  }),
  promise("what is held at the same time is free again with the settle, whatever that says", function* (store) {
    const take = of(concurrency)
    deepStrictEqual(yield* store.granted("1", take(1)), [1])
    deepStrictEqual(yield* store.granted("2", take(1)), [0])
    yield* store.denied("3", [take(1)], 0, undefined)
    yield* store.settle("1", 1)
    deepStrictEqual(yield* store.granted("4", take(1)), [0])
    yield* store.settle("2")
    yield* store.settle("4", 0)
    strictEqual(yield* store.left(take(0)), 2)
  }),
  promise("a lease whose holder lives is held beyond its ttl", function* (store, advance) {
    yield* store.granted("1", of(concurrency)(2))
    for (let i = 0; i < 12; i++) yield* advance(Duration.toMillis(ttl) / 3)
    yield* store.denied("2", [of(concurrency)(1)], 0, undefined)
    yield* store.settle("1")
    yield* store.granted("3", of(concurrency)(2))
  }),
  whenHoldersDie("an expired lease frees what was held and leaves the rest taken", function* (store, advance) {
    const window = hourFrom(yield* store.now)
    yield* store.granted("1", of(concurrency)(2), of(window)(4), of(rolling)(5), of(bucket)(9))
    yield* advance(Duration.toMillis(ttl) - slack)
    strictEqual(yield* store.left(of(concurrency)(0)), 0)
    yield* advance(slack)
    strictEqual(yield* store.left(of(concurrency)(0)), 2)
    strictEqual(yield* store.left(of(window)(0)), 6)
    strictEqual(yield* store.left(of(bucket)(0)), 7)
    deepStrictEqual(yield* store.granted("2", of(concurrency)(2)), [0])
  }),
  whenHoldersDie("a late settle still corrects what an expired lease left taken, once", function* (store, advance) {
    const window = hourFrom(yield* store.now)
    yield* store.granted("1", of(concurrency)(2), of(window)(4), of(bucket)(8))
    yield* advance(Duration.toMillis(ttl))
    yield* store.granted("2", of(concurrency)(2))
    yield* store.settle("1", 0, 9, 7)
    yield* store.settle("1", 0, 0, 0)
    strictEqual(yield* store.left(of(window)(0)), 1)
    strictEqual(yield* store.left(of(bucket)(0)), 9)
    strictEqual(yield* store.left(of(concurrency)(0)), 0)
  })
]

/** An entry of nothing waits until the debt is paid, and in a bucket for no further unit. */
const waitOfNothing = (quota: Quota) => (quota._tag === "Bucket" ? seconds(10) : 0)
