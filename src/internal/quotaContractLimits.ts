/** Cases of the contract: what is admitted, and what is said of the rest. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Quota } from "../QuotaStore.ts"
import {
  type Case,
  bucket,
  concurrency,
  hourFrom,
  near,
  of,
  promise,
  rolling,
  seconds,
  slack
} from "./quotaContract.ts"

export const limits: ReadonlyArray<Case> = [
  promise("a bucket admits its capacity at once and then as it refills", function* (store, advance) {
    const take = of(bucket)
    deepStrictEqual(yield* store.granted("1", take(7)), [3])
    deepStrictEqual(yield* store.granted("2", take(3)), [0])
    deepStrictEqual(yield* store.denied("3", [take(2)], 0, seconds(20)), [0])
    yield* advance(seconds(20))
    deepStrictEqual(yield* store.granted("4", take(2)), [0])
  }),
  promise("a full bucket saves up no more than its capacity", function* (store, advance) {
    yield* store.granted("1", of(bucket)(1))
    yield* advance(seconds(3600))
    deepStrictEqual(yield* store.granted("2", of(bucket)(10)), [0])
  }),
  promise("takes every entry or none", function* (store) {
    const other = of({ ...bucket, capacity: 3 }, "b")
    deepStrictEqual(yield* store.granted("1", of(bucket)(4), other(3)), [6, 0])
    deepStrictEqual(yield* store.denied("2", [of(bucket)(4), other(1)], 1, seconds(10)), [6, 0])
    deepStrictEqual(yield* store.granted("3", of(bucket)(6)), [0])
  }),
  promise("counts a key that is named twice in one reservation twice", function* (store) {
    const take = of(bucket)
    deepStrictEqual(yield* store.granted("1", take(4), take(2)), [4, 4])
    deepStrictEqual(yield* store.denied("2", [take(3), take(3)], 1, seconds(20)), [4, 4])
    deepStrictEqual(yield* store.denied("3", [take(6), take(6)], 0, undefined), [4, 4])
    yield* store.settle("1", 1, 1)
    strictEqual(yield* store.left(take(0)), 8)
  }),
  promise(
    "names the first entry that does not fit and the wait after which all of them do",
    function* (store, advance) {
      const entries = [of(bucket, "a")(1), of(bucket, "b")(2), of(bucket, "c")(5)]
      yield* store.granted("1", of(bucket, "b")(10), of(bucket, "c")(10))
      deepStrictEqual(yield* store.denied("2", entries, 1, seconds(50)), [10, 0, 0])
      yield* advance(seconds(50))
      yield* store.granted("3", ...entries)
    }
  ),
  promise("names no wait for what can never fit, or where only a settle makes room", function* (store) {
    yield* store.denied("1", [of(bucket)(11)], 0, undefined)
    yield* store.denied("2", [of(rolling)(11)], 0, undefined)
    yield* store.denied("3", [of(concurrency)(3)], 0, undefined)
    yield* store.denied("4", [of({ ...bucket, capacity: 0 }, "none")(1)], 0, undefined)
    yield* store.denied("5", [of({ ...bucket, refillPerSecond: 0 }, "never")(11)], 0, undefined)
    yield* store.granted("6", of(concurrency)(2), of(bucket)(10))
    yield* store.denied("7", [of(bucket)(1), of(concurrency)(1)], 0, undefined)
  }),
  promise("grants a reservation of nothing", function* (store) {
    deepStrictEqual(yield* store.granted("1"), [])
    yield* store.settle("1")
  }),
  promise("a rolling quota admits at most its limit in any span", function* (store, advance) {
    const take = of(rolling)
    deepStrictEqual(yield* store.granted("1", take(6)), [4])
    yield* advance(seconds(30))
    deepStrictEqual(yield* store.granted("2", take(4)), [0])
    yield* advance(seconds(27))
    const answer = yield* store.reserve("3", take(6))
    ok(answer._tag === "Denied" && answer.retryAfter !== undefined)
    const wait = Duration.toMillis(answer.retryAfter)
    ok(wait > seconds(1) && wait <= seconds(13), `waits ${wait} ms`)
    yield* advance(wait)
    deepStrictEqual(yield* store.granted("4", take(6)), [0])
  }),
  promise("a window holds until its end, and the next one starts with nothing taken", function* (store, advance) {
    const startsAt = (yield* store.now) - seconds(60)
    const first = of(hourFrom(startsAt))
    const second = of(hourFrom(startsAt + seconds(3600)))
    deepStrictEqual(yield* store.granted("1", first(10)), [0])
    yield* store.denied("2", [first(1)], 0, seconds(3540))
    yield* advance(seconds(3540))
    deepStrictEqual(yield* store.granted("3", second(4)), [6])
  }),
  promise("a window that is not now admits nothing", function* (store) {
    const now = yield* store.now
    yield* store.denied("1", [of(hourFrom(now + seconds(30)))(1)], 0, seconds(30))
    yield* store.denied("2", [of(hourFrom(now - seconds(3600)))(1)], 0, undefined)
  }),
  promise("reading takes nothing and says when the quota is whole again", function* (store) {
    const window = hourFrom(yield* store.now)
    for (const quota of [bucket, rolling, window, concurrency]) {
      const { remaining, resetAfter } = yield* store.state({ key: "unused", quota })
      deepStrictEqual([remaining, Duration.toMillis(resetAfter)], [quota === concurrency ? 2 : 10, 0])
    }
    yield* store.granted("1", of(bucket)(3), of(rolling)(3), of(window)(3), of(concurrency)(2))
    for (let i = 0; i < 2; i++) {
      strictEqual(yield* store.left(of(bucket)(0)), 7)
      near((yield* store.state(of(bucket)(0))).resetAfter, seconds(30))
      near((yield* store.state(of(window)(0))).resetAfter, seconds(3600))
      const reset = Duration.toMillis((yield* store.state(of(rolling)(0))).resetAfter)
      ok(reset > seconds(60) - slack && reset <= seconds(70), `whole in ${reset} ms`)
      strictEqual(Duration.toMillis((yield* store.state(of(concurrency)(0))).resetAfter), 0)
    }
    deepStrictEqual(yield* store.raw.read([]), [])
  }),
  promise("observing lowers what is left and never raises it", function* (store) {
    for (const quota of [bucket, rolling, hourFrom(yield* store.now)]) {
      const take = of(quota)
      yield* store.observe(take(4))
      strictEqual(yield* store.left(take(0)), 4)
      yield* store.observe(take(9))
      yield* store.observe(take(1000))
      strictEqual(yield* store.left(take(0)), 4)
      yield* store.observe(take(0))
      const answer = yield* store.reserve("1", take(1))
      strictEqual(answer._tag, "Denied")
    }
  }),
  promise("observing a debt denies everything until time has paid it", function* (store, advance) {
    const take = of(bucket)
    yield* store.granted("1", take(3))
    yield* store.observe(take(-5))
    strictEqual(yield* store.left(take(0)), -5)
    yield* store.observe(take(-2))
    deepStrictEqual(yield* store.denied("2", [take(0)], 0, seconds(50)), [-5])
    deepStrictEqual(yield* store.denied("3", [take(1)], 0, seconds(60)), [-5])
    yield* advance(seconds(60))
    deepStrictEqual(yield* store.granted("4", take(1)), [0])
  }),
  promise("observing says nothing of what is held at the same time", function* (store) {
    yield* store.granted("1", of(concurrency)(1))
    yield* store.observe(of(concurrency)(-3))
    strictEqual(yield* store.left(of(concurrency)(0)), 1)
  }),
  promise("takes for good every entry or none, without a lease", function* (store, advance) {
    const window = hourFrom(yield* store.now)
    const entries = [of(bucket)(4), of(rolling)(4), of(window)(4)]
    deepStrictEqual(yield* store.taken(...entries), [6, 6, 6])
    deepStrictEqual(
      yield* store.notTaken([of(bucket)(1), ...entries, of(window)(3)], 4, seconds(3600)),
      [6, 6, 6, 6, 6]
    )
    deepStrictEqual(yield* store.taken(of(bucket)(6)), [0])
    deepStrictEqual(yield* store.notTaken([of(bucket)(2)], 0, seconds(20)), [0])
    deepStrictEqual(yield* store.notTaken([of(bucket)(11)], 0, undefined), [0])
    yield* advance(seconds(20))
    deepStrictEqual(yield* store.taken(of(bucket)(1), of(bucket)(1)), [0, 0])
    deepStrictEqual(yield* store.taken(), [])
  }),
  promise("taking for good holds nothing and only asks whether there is room", function* (store) {
    const held = of(concurrency)
    deepStrictEqual(yield* store.taken(held(2), of(bucket)(1)), [2, 9])
    strictEqual(yield* store.left(held(0)), 2)
    yield* store.granted("1", held(2))
    deepStrictEqual(yield* store.notTaken([of(bucket)(1), held(1)], 1, undefined), [9, 0])
    deepStrictEqual(yield* store.taken(held(0), of(bucket)(1)), [0, 8])
    yield* store.settle("1")
  }),
  promise("any text is a key of its own", function* (store) {
    const keys = ["a", "A", "", " ", "}{x", "{a}", "a:b", "a\n", "\u0000", "é", "e\u0301", "😀", "x".repeat(10_000)]
    keys.push(`${keys.at(-1)}y`)
    for (const [i, key] of keys.entries())
      deepStrictEqual(yield* store.granted(`${i}`, of(bucket, key)(7), of(concurrency, key)(1)), [3, 1])
    for (const i of keys.keys()) yield* store.settle(`${i}`, 6)
    const left = yield* store.raw.read(keys.flatMap((key) => [of(bucket, key)(0), of(concurrency, key)(0)]))
    deepStrictEqual(
      left.map(({ remaining }) => remaining),
      keys.flatMap(() => [4, 2])
    )
  }),
  promise("quotas of other kinds, spans and windows do not mix under one key", function* (store) {
    const now = yield* store.now
    const day: Quota = { _tag: "Window", limit: 10, startsAt: now, endsAt: now + 86_400_000 }
    const slower: Quota = { ...rolling, span: Duration.hours(1) }
    const quotas = [bucket, rolling, slower, hourFrom(now), day]
    const remaining = yield* store.granted("1", ...quotas.map((quota, i) => of(quota)(i)))
    deepStrictEqual(remaining, [10, 9, 8, 7, 6])
  }),
  promise("a changed limit applies to what was taken before", function* (store) {
    yield* store.granted("1", of(bucket)(6))
    strictEqual(yield* store.left(of({ ...bucket, capacity: 20 })(0)), 14)
    strictEqual(yield* store.left(of({ ...bucket, capacity: 5 })(0)), -1)
  }),
  promise("counts to the last unit of the largest integers", function* (store) {
    const most = Number.MAX_SAFE_INTEGER
    const take = of({ ...hourFrom(yield* store.now), limit: most })
    deepStrictEqual(yield* store.granted("1", take(most - 1)), [1])
    deepStrictEqual(yield* store.granted("2", take(1)), [0])
    yield* store.settle("1", most - 3)
    strictEqual(yield* store.left(take(0)), 2)
  }),
  promise("an amount that is no integer of at least zero is a bug that takes nothing", function* (store) {
    for (const amount of [-1, 0.5, Number.NaN, Infinity, 1e17]) {
      const exit = yield* Effect.exit(store.reserve(`${amount}`, of(bucket)(1), of(bucket)(amount)))
      ok(Exit.isFailure(exit) && Exit.hasDies(exit), `${amount} dies`)
    }
    const exit = yield* Effect.exit(store.take(of(bucket)(1), of(bucket)(-1)))
    ok(Exit.isFailure(exit) && Exit.hasDies(exit), "taking less than nothing dies")
    strictEqual(yield* store.left(of(bucket)(0)), 10)
  }),
  promise("many at once are admitted to the limit and no further", function* (store) {
    const hundred: Quota = { ...bucket, capacity: 100, refillPerSecond: 0 }
    const one = (i: number) => store.reserve(`${i}`, of(hundred)(1), of(concurrency, `${i}`)(1))
    const answers = yield* Effect.forEach(Array(300).keys(), one, { concurrency: "unbounded" })
    strictEqual(answers.filter(({ _tag }) => _tag === "Granted").length, 100)
    const back = (i: number) => store.settle(`${i}`, 0, 0)
    yield* Effect.forEach(Array(300).keys(), back, { concurrency: "unbounded" })
    strictEqual(yield* store.left(of(hundred)(0)), 100)
  })
]
