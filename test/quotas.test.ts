/** The ledger against a model that keeps every event and works out what is taken from all of them, each time anew. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Schema } from "effect"
import { TestClock } from "effect/testing"
import type * as QuotaStore from "effect-ballast/QuotaStore"
import * as memoryQuotaStore from "../src/internal/memoryQuotaStore.ts"

/** Each as likely as the others, which small runs of an integer schema do not give. */
const upTo = (most: number) => Schema.Literals(Array.from({ length: most + 1 }, (_, i) => i))

const span = Duration.seconds(1)
const width = 334 // a third of the span, in whole milliseconds
const slots = 3
const day = 2000

const bucket = (capacity: number, refillPerSecond: number) => () =>
  ({ _tag: "Bucket", capacity, refillPerSecond }) as const
const window = (first: (now: number) => number) => (now: number) =>
  ({ _tag: "Window", limit: 7, startsAt: first(now), endsAt: first(now) + day }) as const
const today = (now: number) => now - (now % day)

const keys: Record<string, (now: number) => QuotaStore.Quota> = {
  slow: bucket(5, 1),
  fast: bucket(9, 7),
  fraction: bucket(3, 0.25),
  rolling: () => ({ _tag: "Rolling", limit: 6, span, slots }),
  today: window(today),
  yesterday: window((now) => today(now) - day),
  held: () => ({ _tag: "Concurrency", limit: 3 })
}

const limitOf = (quota: QuotaStore.Quota) => (quota._tag === "Bucket" ? quota.capacity : quota.limit)

/** What is denied always only now and then. */
const often = ["slow", "fast", "fraction", "rolling", "today", "held"]
const Key = Schema.Literals([...often, ...often, ...often, "yesterday"])

const Reserve = Schema.Struct({
  op: Schema.Literal("reserve"),
  entries: Schema.Array(Schema.Struct({ key: Key, amount: Schema.Literals([1, 1, 1, 2, 2, 3, 0, 6]) })).check(
    Schema.isMinLength(1),
    Schema.isMaxLength(4)
  ),
  ttl: Schema.Literals([1, 2, 3, 5, 1000])
})
const Settle = Schema.Struct({
  op: Schema.Literal("settle"),
  /** Of all leases so far, the last ones first: settled ones are settled again. */
  lease: upTo(5),
  actual: Schema.Tuple([upTo(9), upTo(9), upTo(9), upTo(9)])
})
const Take = Schema.Struct({ op: Schema.Literal("take"), entries: Reserve.fields.entries })
const Cancel = Schema.Struct({ op: Schema.Literal("cancel"), lease: upTo(5) })
const Pass = Schema.Struct({
  op: Schema.Literal("pass"),
  millis: Schema.Literals([1, 3, 99, 250, 334, 667, 1000, 2500])
})
const Observe = Schema.Struct({ op: Schema.Literal("observe"), left: Schema.Literals([-3, 0, 1, 2, 4, 9]) })
const Run = Schema.Array(
  Schema.Union([Reserve, Reserve, Reserve, Take, Settle, Settle, Cancel, Pass, Pass, Observe])
).check(Schema.isMinLength(40), Schema.isMaxLength(80))

/** The first millisecond from then on at which something holds that will hold for ever. */
const first = (holds: (at: number) => boolean, from: number): number => {
  let [before, after] = [from - 1, from]
  for (let step = 1; !holds(after); step *= 2) [before, after] = [after, after + step]
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (holds(middle)) after = middle
    else before = middle
  }
  return after
}

/** What one entry of a reservation took. */
interface Taken extends QuotaStore.Entry {
  readonly lease: string
  readonly at: number
  readonly expiresAt: number
  actual: number | undefined
  /** Of a bucket. */
  raise?: Raise
}

/** Something that raised what is taken of a bucket: an admission, by what of it was used, or a debt. */
interface Raise {
  readonly key: string
  readonly at: number
  used: number
  /** Whether somebody was admitted by it. */
  readonly admitted: boolean
}

class Model {
  readonly all: Array<Taken> = []
  /** How many thousandths more were taken of a bucket, when; what was given back is negative. */
  readonly changes: Array<{ readonly key: string; readonly at: number; readonly delta: number }> = []
  /** The same history as it would be if all that has settled had used from the start what it used. */
  readonly raises: Array<Raise> = []

  /** In thousandths, which are whole numbers here or fourths of them. */
  ofBucket(key: string, refillPerSecond: number, now: number): number {
    // the most that has come together since any moment, less what was refilled since then
    let most = 0
    let sum = 0
    for (const { at, delta } of this.changes.filter((change) => change.key === key).toReversed()) {
      sum += delta
      most = Math.max(most, sum - refillPerSecond * (now - at))
    }
    return most
  }

  /** What is taken by what was really used, and the least of it since an instant. */
  really(key: string, refillPerSecond: number, since: number, now: number): { level: number; least: number } {
    let [level, at, least] = [0, since, Infinity]
    const passTo = (next: number) => {
      level = Math.max(0, level - (refillPerSecond * (next - at)) / 1000)
      at = next
      if (next > since) least = Math.min(least, level)
    }
    const own = this.raises.filter((raise) => raise.key === key)
    at = own[0]?.at ?? now
    for (const raise of own) {
      passTo(raise.at)
      level += raise.used
    }
    passTo(now)
    return { level, least: Math.min(least, level) }
  }

  /** The promise of a bucket in its own words, over all intervals. */
  assertIntervals(key: string, capacity: number, refillPerSecond: number): void {
    const admitted = this.raises.filter((raise) => raise.key === key && raise.admitted)
    for (const [i, { at }] of admitted.entries()) {
      let used = 0
      for (const last of admitted.slice(i)) {
        used += last.used
        assert.isAtMost(used, capacity + (refillPerSecond * (last.at - at)) / 1000 + 1e-3, `of ${key} in an interval`)
      }
    }
  }

  taken({ key, quota }: Pick<QuotaStore.Entry, "key" | "quota">, now: number): number {
    if (quota._tag === "Bucket") return Math.ceil(this.ofBucket(key, quota.refillPerSecond, now) / 1000)
    const own = this.all.filter((taken) => taken.key === key)
    const sum = (taken: ReadonlyArray<Taken>) => taken.reduce((sum, { actual, amount }) => sum + (actual ?? amount), 0)
    if (quota._tag === "Concurrency")
      return sum(own.filter(({ actual, expiresAt }) => actual === undefined && now < expiresAt))
    const counts = (at: number) =>
      quota._tag === "Rolling"
        ? Math.floor(at / width) >= Math.floor(now / width) - slots
        : at >= quota.startsAt && at < quota.endsAt
    return sum(own.filter(({ at }) => counts(at)))
  }

  /** Whether the entries fit, those up to one of them or all. */
  private fits(entries: ReadonlyArray<QuotaStore.Entry>, upTo: number, now: number): boolean {
    const entry = entries[upTo]
    if (entry === undefined) return true
    const { key, quota } = entry
    const own = entries.slice(0, upTo + 1).reduce((sum, other) => sum + (other.key === key ? other.amount : 0), 0)
    if (quota._tag === "Window" && now >= quota.endsAt) return false
    return this.taken(entry, now) + own <= limitOf(quota)
  }

  /** The first entry that does not fit, or -1. */
  denied(entries: ReadonlyArray<QuotaStore.Entry>, now: number): number {
    return entries.findIndex((_, i) => !this.fits(entries, i, now))
  }

  /** When it is worth asking again: the first millisecond at which nothing that time can give is missing. */
  retryAt(entries: ReadonlyArray<QuotaStore.Entry>, now: number): number | undefined {
    const tight = entries.filter(
      (entry) =>
        this.denied(
          entries.filter(({ key }) => key === entry.key),
          now
        ) !== -1
    )
    const sum = (key: string) => entries.reduce((sum, entry) => sum + (entry.key === key ? entry.amount : 0), 0)
    if (
      tight.some(({ key, quota }) => quota._tag === "Concurrency" || key === "yesterday" || sum(key) > limitOf(quota))
    )
      return undefined
    let at = now
    for (const { key, quota } of tight) {
      const fitsAt = (at: number) =>
        quota._tag === "Window" ? at >= quota.endsAt : this.taken({ key, quota }, at) + sum(key) <= limitOf(quota)
      at = first(fitsAt, at)
    }
    return at
  }

  take(taken: Taken): void {
    this.all.push(taken)
    if (taken.quota._tag !== "Bucket") return
    this.changes.push({ key: taken.key, at: taken.at, delta: taken.amount * 1000 })
    taken.raise = { key: taken.key, at: taken.at, used: taken.amount, admitted: true }
    this.raises.push(taken.raise)
  }

  /** Settles one entry; what of a bucket is given back is told with `giveBack`. */
  settle(taken: Taken, actual: number, now: number): void {
    taken.actual = actual
    if (taken.raise === undefined) return
    taken.raise.used = Math.min(actual, taken.amount)
    if (actual > taken.amount) this.owe(taken.key, actual - taken.amount, now)
  }

  owe(key: string, amount: number, at: number): void {
    this.changes.push({ key, at, delta: amount * 1000 })
    this.raises.push({ key, at, used: amount, admitted: false })
  }

  giveBack(key: string, thousandths: number, at: number): void {
    this.changes.push({ key, at, delta: -thousandths })
  }

  /** Whether something was given back since then. */
  gaveBack(key: string, since: number): boolean {
    return this.changes.some((change) => change.key === key && change.at > since && change.delta < 0)
  }
}

const start = Date.UTC(2026, 10, 24, 12, 0, 0, 1)

class Trial {
  readonly model = new Model()
  private readonly leases: Array<string> = []
  /** Buckets that have given back less than was not used, until they are full again. */
  private readonly inexact = new Set<string>()
  private readonly store: memoryQuotaStore.MemoryQuotaStore
  private readonly renew: boolean
  now = start

  constructor(store: memoryQuotaStore.MemoryQuotaStore, renew: boolean) {
    this.store = store
    this.renew = renew
  }

  step(step: (typeof Run.Type)[number]): Effect.Effect<void> {
    if (step.op === "pass") return this.pass(step.millis)
    return Effect.sync(() => {
      if (step.op === "reserve") this.reserve(step)
      else if (step.op === "take") this.take(step)
      else if (step.op === "observe") this.observe({ key: "slow", amount: step.left, quota: bucket(5, 1)() })
      else this.settle(this.leases.at(-1 - step.lease), step.op === "settle" ? step.actual : [0, 0, 0, 0])
    })
  }

  pass(millis: number): Effect.Effect<void> {
    this.now += millis
    return TestClock.setTime(this.now)
  }

  private reserve({ entries, ttl }: typeof Reserve.Type): void {
    const lease = `lease ${this.leases.length}`
    const expiresAt = this.renew ? Infinity : this.now + ttl * 1000
    const admitted = this.admit(entries, lease, expiresAt, (entries) =>
      this.store.reserve(lease, entries, Duration.seconds(ttl))
    )
    if (admitted) this.leases.push(lease)
  }

  /** As a reservation that nobody settles, and that holds nothing. */
  private take({ entries }: typeof Take.Type): void {
    this.admit(entries, "taken for good", this.now, this.store.take)
  }

  private admit(
    drawn: (typeof Reserve.Type)["entries"],
    lease: string,
    expiresAt: number,
    ask: (entries: ReadonlyArray<QuotaStore.Entry>) => Effect.Effect<QuotaStore.Granted | QuotaStore.Denied, unknown>
  ): boolean {
    const { model, now } = this
    const entries = drawn.map(({ amount, key }) => ({ key, amount, quota: keys[key]?.(now) ?? assert.fail() }))
    const denied = model.denied(entries, now)
    const retryAt = denied === -1 ? undefined : model.retryAt(entries, now)
    if (denied === -1)
      for (const entry of entries) model.take({ ...entry, lease, at: now, expiresAt, actual: undefined })
    const answer = succeeded(ask(entries))
    assert.deepStrictEqual(
      { ...answer, ...(answer._tag === "Denied" ? { retryAfter: millis(answer.retryAfter) } : {}) },
      {
        ...(denied === -1
          ? { _tag: "Granted" }
          : { _tag: "Denied", entry: denied, retryAfter: retryAt === undefined ? undefined : retryAt - now }),
        remaining: entries.map((entry) => this.left(entry)),
        now
      }
    )
    if (denied === -1 && entries.some(({ key }) => key === "rolling")) this.assertSpan()
    return denied === -1
  }

  private left(entry: Pick<QuotaStore.Entry, "key" | "quota">): number {
    return limitOf(entry.quota) - (entry.key === "yesterday" ? 0 : this.model.taken(entry, this.now))
  }

  /** The promise of a rolling quota in its own words: in the span that ends now there is no more than the limit. */
  private assertSpan(): void {
    const inSpan = this.model.all.filter(({ at, key }) => key === "rolling" && at > this.now - Duration.toMillis(span))
    const admitted = inSpan.reduce((sum, { actual, amount }) => sum + (actual ?? amount), 0)
    assert.isAtMost(admitted, 6)
  }

  private settle(lease: string | undefined, actual: ReadonlyArray<number>): void {
    if (lease === undefined) return
    const { model, now } = this
    const open = model.all.filter((one) => one.lease === lease && one.actual === undefined)
    const gaveBack = new Set<string>()
    for (const [i, taken] of open.entries()) {
      const used = actual[i] ?? taken.amount
      // what a lease gives back for one of its entries bounds what it gives back for the next one
      if (taken.quota._tag === "Bucket" && (gaveBack.has(taken.key) || !this.isExact(taken, used)))
        this.inexact.add(taken.key)
      if (used < taken.amount) gaveBack.add(taken.key)
      model.settle(taken, used, now)
    }
    succeeded(this.store.settle(lease, actual))
    for (const [key, quota] of this.buckets()) {
      const expected = model.ofBucket(key, quota.refillPerSecond, now)
      model.giveBack(key, expected - Math.round(this.store.taken(key) * 4000) / 4, now)
    }
  }

  /** Whether a settle must give back all that was not used: at once, or when the bucket never held less of it. */
  private isExact({ amount, at, key, quota }: Taken, used: number): boolean {
    if (used >= amount || at === this.now) return true
    if (quota._tag !== "Bucket" || this.inexact.has(key)) return false
    const epoch = (quota.capacity * 500) / quota.refillPerSecond
    const { least } = this.model.really(key, quota.refillPerSecond, at - epoch, this.now)
    return this.now - at < epoch && least >= amount - used && !this.model.gaveBack(key, at - epoch)
  }

  private buckets(): ReadonlyArray<readonly [string, Extract<QuotaStore.Quota, { readonly _tag: "Bucket" }>]> {
    return Object.entries(keys).flatMap(([key, quotaAt]) => {
      const quota = quotaAt(this.now)
      return quota._tag === "Bucket" ? [[key, quota] as const] : []
    })
  }

  /** No bucket has given back too much, and none too little where it can know. */
  private assertRefunds(): void {
    for (const [key, { refillPerSecond }] of this.buckets()) {
      const taken = this.store.taken(key)
      const { level } = this.model.really(key, refillPerSecond, this.now, this.now)
      assert.isAtLeast(taken, level - 1e-3, `taken of ${key}`)
      if (taken === 0) this.inexact.delete(key)
      if (!this.inexact.has(key)) assert.closeTo(taken, level, 1e-3, `taken of ${key}`)
    }
  }

  private observe(entry: QuotaStore.Entry): void {
    const tooMuch = limitOf(entry.quota) - this.model.taken(entry, this.now) - entry.amount
    if (tooMuch > 0) this.model.owe(entry.key, tooMuch, this.now)
    succeeded(this.store.observe(entry))
  }

  /** Everything that can be asked of the store agrees with the model. */
  assertEqual(): void {
    const asked = Object.entries(keys).map(([key, quota]) => ({ key, quota: quota(this.now) }))
    const states = succeeded(this.store.read(asked))
    assert.deepStrictEqual(
      states.map(({ remaining }) => remaining),
      asked.map((entry) => this.left(entry))
    )
    for (const [i, { resetAfter }] of states.entries()) {
      const entry = asked[i] ?? assert.fail()
      if (entry.quota._tag === "Concurrency" || entry.quota._tag === "Window") continue
      const wholeAt = this.now + Duration.toMillis(resetAfter)
      assert.strictEqual(this.model.taken(entry, wholeAt), 0)
      if (wholeAt > this.now) assert.isAbove(this.model.taken(entry, wholeAt - 1), 0)
    }
    this.assertRefunds()
  }

  assertIntervals(): void {
    for (const [key, { capacity, refillPerSecond }] of this.buckets())
      this.model.assertIntervals(key, capacity, refillPerSecond)
  }

  settleAll(): void {
    for (const lease of this.leases) this.settle(lease, [0, 0, 0, 0])
  }
}

const millis = (duration: Duration.Duration | undefined) => duration && Duration.toMillis(duration)

const succeeded = <A>(effect: Effect.Effect<A, unknown>): A =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? (effect.value as A) : assert.fail("no success on the spot") // an exit of A

const properties = { arbitrary: { runs: 300 } }

describe.each([true, false])("the ledger, where leases are renewed: %s", (renew) => {
  it.effect.prop(
    "admits what the model admits, to the unit and the millisecond, and loses nothing",
    [Run],
    ([run]) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memoryQuotaStore.make({ renew })
        const trial = new Trial(store, renew)
        for (const step of run) {
          yield* trial.step(step)
          trial.assertEqual()
        }
        trial.assertIntervals()
        trial.settleAll()
        trial.assertEqual()
        trial.assertIntervals()
        yield* trial.pass(3_600_000)
        for (const [key, quota] of Object.entries(keys)) {
          const [state] = succeeded(store.read([{ key, quota: quota(trial.now) }]))
          assert.strictEqual(state?.remaining, limitOf(quota(trial.now)), `${key} is whole`)
        }
        assert.strictEqual(store.size.leases, 0)
      }),
    properties
  )
})

describe("a bucket", () => {
  it.effect.prop(
    "admits in any interval no more than its capacity and its refill, whatever the rate, and asks nobody to wait twice",
    {
      perMinute: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 })),
      pauses: Schema.Array(Schema.Literals([0, 1, 1, 7, 50, 999, 60_000])).check(Schema.isMinLength(20))
    },
    ({ pauses, perMinute }) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memoryQuotaStore.make()
        const perSecond = perMinute / 60
        const capacity = Math.max(1, Math.ceil(perMinute / 7))
        const quota = bucket(capacity, perSecond)()
        const taken: Array<{ readonly at: number; readonly amount: number }> = []
        let now = start
        for (const [i, pause] of pauses.entries()) {
          yield* TestClock.setTime((now += pause))
          const amount = i % 3 === 0 ? capacity : 1
          const ask = (n: number) => succeeded(store.reserve(`${i}.${n}`, [{ key: "a", amount, quota }], span))
          const answer = ask(0)
          if (answer._tag === "Denied") {
            yield* TestClock.setTime((now += millis(answer.retryAfter) ?? assert.fail()) - 1)
            assert.strictEqual(ask(1)._tag, "Denied", "a millisecond before")
            yield* TestClock.setTime(now)
            assert.strictEqual(ask(2)._tag, "Granted")
          }
          taken.push({ at: now, amount })
        }
        for (const [i, { at }] of taken.entries()) {
          let admitted = 0
          for (const last of taken.slice(i)) {
            admitted += last.amount
            assert.isAtMost(admitted, capacity + (perSecond * (last.at - at)) / 1000 + 1e-3)
          }
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("does not drift, however often it is asked", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const store = yield* memoryQuotaStore.make()
      const entry = { key: "a", amount: 1, quota: bucket(3, 1 / 7)() }
      for (let i = 0; i < 3; i++) succeeded(store.reserve(`${i}`, [entry], span))
      let admitted = 0
      for (let i = 1; i <= 70_000; i++) {
        yield* TestClock.setTime(start + i)
        if (succeeded(store.reserve(`later ${i}`, [entry], span))._tag === "Granted")
          assert.strictEqual(i, ++admitted * 7000, "to the millisecond")
      }
      assert.strictEqual(admitted, 10)
    })
  )
})

describe("a clock that is put back", () => {
  it.effect("keeps a bucket as it was, and refills it from then on", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make()
      const entry = { key: "a", amount: 5, quota: bucket(5, 1)() }
      yield* TestClock.setTime(start)
      succeeded(store.reserve("1", [entry], span))
      yield* TestClock.setTime(start - 3_600_000)
      assert.deepStrictEqual(succeeded(store.read([entry])), [{ remaining: 0, resetAfter: Duration.seconds(5) }])
      yield* TestClock.setTime(start - 3_600_000 + 5000)
      assert.strictEqual(succeeded(store.reserve("2", [entry], span))._tag, "Granted")
    })
  )

  it.effect("lets nobody wait longer for a rolling quota than from the start", () =>
    Effect.gen(function* () {
      const store = yield* memoryQuotaStore.make()
      const quota = { _tag: "Rolling", limit: 6, span, slots } as const
      yield* TestClock.setTime(start)
      succeeded(store.reserve("1", [{ key: "a", amount: 3, quota }], span))
      yield* TestClock.setTime(start + 500)
      succeeded(store.reserve("2", [{ key: "a", amount: 3, quota }], span))
      yield* TestClock.setTime(start - 3_600_000)
      const answer = succeeded(store.reserve("3", [{ key: "a", amount: 1, quota }], span))
      assert.strictEqual(answer._tag, "Denied")
      yield* TestClock.setTime(start - 3_600_000 + (slots + 1) * width)
      assert.strictEqual(succeeded(store.reserve("4", [{ key: "a", amount: 6, quota }], span))._tag, "Granted")
    })
  )
})
