/**
 * What a circuit does, in words of its promises: all that ever happened is kept, and what is true now is found out from that,
 * each time anew. `agrees` runs any store of circuits beside it.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Random, type Scope, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { Cause, Outcome, Refusal, Rules, Service, State, Ticket } from "effect-ballast/CircuitBreakerStore"

/** A call that was let go. */
interface Admission {
  readonly period: Period
  readonly at: number
  readonly tries: boolean
}

interface Result {
  readonly at: number
  readonly of: Admission
  readonly outcome: Outcome
}

/** Between two changes of state. */
interface Period {
  readonly state: State
  readonly since: number
  readonly until: number
  readonly cause: Cause | undefined
  /** Began by a reset, or as the first of all. */
  readonly anew: boolean
  readonly admissions: Array<Admission>
  /** Those that counted. */
  readonly results: Array<Result>
}

const sum = (flags: ReadonlyArray<boolean>): number => flags.filter(Boolean).length

class CircuitModel {
  readonly periods: Array<Period> = []
  private readonly rules: Rules

  constructor(rules: Rules, now: number) {
    this.rules = rules
    this.begin("closed", now, { anew: true })
  }

  get current(): Period {
    return this.periods.at(-1) as Period // there is always one
  }

  private begin(state: State, since: number, more: Partial<Period> = {}): Period {
    const period = { state, since, until: 0, cause: undefined, anew: false, ...more, admissions: [], results: [] }
    this.periods.push(period)
    return period
  }

  /** Openings in a row up to now: without a reset and without a closed time that was long enough to be well. */
  private openings(now: number): number {
    let openings = 0
    for (let i = this.periods.length - 1; i >= 0; i--) {
      const period = this.periods[i] as Period // in bounds
      const end = this.periods[i + 1]
      // a closed time counts as healthy where it ended, or would end, in an opening
      const well = period.state === "closed" && (end?.state ?? "open") === "open"
      if (well && (end?.since ?? now) - period.since >= this.rules.healthyAfter) return openings
      if (period.state === "open") openings++
      if (period.anew) return openings
    }
    return openings
  }

  /** Whether it opened since the last reset: a closed circuit that did has just recovered, or once had. */
  private get everOpened(): boolean {
    const last = this.periods.findLastIndex((period) => period.anew)
    return this.periods.slice(last).some((period) => period.state === "open")
  }

  /** Ends of the leases of those who still try. */
  private leases(now: number): ReadonlyArray<number> {
    const { admissions, results } = this.current
    return admissions
      .filter((admission) => admission.tries && !results.some((result) => result.of === admission))
      .map((admission) => admission.at + this.rules.probeLease)
      .filter((end) => now < end)
  }

  /** Share of the calls that go; 1 where all do. */
  share(now: number): number {
    const age = now - this.current.since
    if (this.current.state !== "closed" || !this.everOpened || age >= this.rules.ramp) return 1
    return Math.max(0.1, age / this.rules.ramp)
  }

  refusal(now: number): Refusal | undefined {
    const { cause, state, until } = this.current
    if (state === "isolated") return { cause, retryAfter: undefined, undecided: false }
    if (state === "open" && now < until) return { cause, retryAfter: until - now, undecided: false }
    const leases = state === "halfOpen" ? this.leases(now) : []
    if (leases.length < this.rules.probes) return undefined
    return { cause, retryAfter: leases.reduce((a, b) => Math.min(a, b)) - now, undecided: true }
  }

  /** `chance` is what was drawn for a call that may go or not. */
  admit(now: number, chance: number): Admission | Refusal {
    const refusal = this.refusal(now)
    if (refusal !== undefined) return refusal
    if (chance >= this.share(now)) return { cause: undefined, retryAfter: undefined, undecided: false }
    if (this.current.state === "open") this.begin("halfOpen", now, { cause: this.current.cause })
    const admission = { period: this.current, at: now, tries: this.current.state === "halfOpen" }
    this.current.admissions.push(admission)
    return admission
  }

  /** Whether a result of this call counts. */
  private counts(admission: Admission, now: number): boolean {
    if (admission.period !== this.current) return false
    const answered = this.current.results.some((result) => result.of === admission)
    return !admission.tries || (!answered && now < admission.at + this.rules.probeLease)
  }

  record(of: Admission, outcome: Outcome, now: number): void {
    if (!this.counts(of, now)) return
    this.current.results.push({ at: now, of, outcome })
    const { cause, results, state } = this.current
    if (outcome.trip !== undefined) return this.open(now, outcome.trip.cause, outcome.trip.millis)
    if (outcome.verdict === "ignored") return undefined
    if (state === "closed") {
      const rule = this.met(now)
      if (rule !== undefined) this.open(now, rule, this.openMillis(now, outcome.retryAfter ?? 0))
      return undefined
    }
    if (outcome.verdict === "failure" || (outcome.slow === true && this.rules.slowRate <= 1))
      return this.open(now, cause, this.openMillis(now, outcome.retryAfter ?? 0))
    if (results.filter(({ outcome }) => outcome.verdict === "success").length >= this.rules.successes)
      this.begin("closed", now)
    return undefined
  }

  private open(now: number, cause: Cause | undefined, millis: number): void {
    this.begin("open", now, { cause, until: now + millis })
  }

  private openMillis(now: number, retryAfter: number): number {
    const { maxOpenFor, openFor } = this.rules
    const planned = openFor.slice(0, this.openings(now) + 1).at(-1) ?? maxOpenFor
    return Math.min(maxOpenFor, Math.max(planned, retryAfter))
  }

  /** The results of this closed time that say something. */
  private get told(): ReadonlyArray<Result> {
    return this.current.state === "closed"
      ? this.current.results.filter(({ outcome }) => outcome.verdict !== "ignored")
      : []
  }

  consecutiveFailures(): number {
    const told = this.told
    return told.length - 1 - told.findLastIndex(({ outcome }) => outcome.verdict === "success")
  }

  /** What the window holds: the last calls, or those of the current tenth of its span and of the nine before. */
  window(now: number): { readonly calls: number; readonly failures: number; readonly slowCalls: number } {
    const { failureRate, slowRate, window } = this.rules
    const part = (at: number) => Math.floor((10 * at) / (window._tag === "time" ? window.span : 1))
    const held =
      failureRate > 1 && slowRate > 1
        ? []
        : window._tag === "calls"
          ? this.told.slice(-window.size)
          : this.told.filter(({ at }) => part(now) - part(at) < 10)
    return {
      calls: held.length,
      failures: sum(held.map(({ outcome }) => outcome.verdict === "failure")),
      slowCalls: sum(held.map(({ outcome }) => outcome.slow === true))
    }
  }

  /** What opens it; shares in the model are fractions of which no rounding is to be feared. */
  private met(now: number): Cause | undefined {
    const { consecutive, failureRate, minimumCalls, slowRate } = this.rules
    if (this.consecutiveFailures() >= consecutive) return "failures"
    const { calls, failures, slowCalls } = this.window(now)
    if (calls < minimumCalls) return undefined
    if (failures / calls >= failureRate) return "failures"
    return slowCalls / calls >= slowRate ? "slow" : undefined
  }

  isolate(now: number): void {
    if (this.current.state !== "isolated") this.begin("isolated", now, { cause: "isolated" })
  }

  reset(now: number): void {
    this.begin("closed", now, { anew: true })
  }

  /** Moments in the future at which something changes by itself. */
  boundaries(now: number): ReadonlyArray<number> {
    const { healthyAfter, ramp, window } = this.rules
    const { since, state, until } = this.current
    const all = [until, ...this.leases(now)]
    if (state === "closed") {
      all.push(since + healthyAfter, since + ramp, since + ramp / 10, since + ramp / 3)
      if (window._tag === "time") {
        const part = window.span / 10
        for (const ahead of [1, 9, 10]) all.push((Math.floor(now / part) + ahead) * part)
      }
    }
    return all.filter((at) => at > now && Number.isSafeInteger(at)).toSorted((a, b) => a - b)
  }
}

const never = 2

const base: Rules = {
  consecutive: Infinity,
  window: { _tag: "calls", size: 8 },
  minimumCalls: 4,
  failureRate: never,
  slowRate: never,
  openFor: [100],
  maxOpenFor: 1000,
  jitter: 0,
  healthyAfter: 2000,
  probes: 1,
  successes: 1,
  probeLease: 50,
  ramp: 0
}

/** Shares are halves and fourths, which are exact. */
const ruleSets: Record<string, Rules> = {
  "failures in a row, open for longer each time": {
    ...base,
    consecutive: 3,
    openFor: [50, 100, 300, 700],
    maxOpenFor: 500
  },
  "one failure, many that try": { ...base, consecutive: 1, probes: 3, successes: 4, openFor: [20, 40] },
  "shares of the last calls": { ...base, failureRate: 0.5, slowRate: 0.75, probes: 2, successes: 2 },
  "shares of the last second": {
    ...base,
    window: { _tag: "time", span: 1000 },
    minimumCalls: 3,
    failureRate: 0.5,
    slowRate: 0.25,
    probes: 2
  },
  "all rules at once": {
    ...base,
    window: { _tag: "time", span: 300 },
    consecutive: 4,
    minimumCalls: 6,
    failureRate: 0.25,
    slowRate: 0.5,
    openFor: [50, 100],
    successes: 2,
    healthyAfter: 500
  },
  "the last call alone": {
    ...base,
    window: { _tag: "calls", size: 1 },
    minimumCalls: 1,
    failureRate: 1,
    slowRate: 1,
    openFor: [10, 20, 40, 80]
  },
  "a ramp": { ...base, consecutive: 2, ramp: 300, openFor: [50, 100], healthyAfter: 600 }
}

const outcomes: Record<string, Outcome> = {
  success: { verdict: "success" },
  failure: { verdict: "failure" },
  ignored: { verdict: "ignored" },
  "slow success": { verdict: "success", slow: true },
  "slow failure": { verdict: "failure", slow: true },
  "slow, ignored": { verdict: "ignored", slow: true },
  "asks for a little": { verdict: "failure", retryAfter: 30 },
  "asks for more": { verdict: "failure", retryAfter: 170 },
  "asks for too much": { verdict: "failure", retryAfter: 86_400_000 },
  "refused key": { verdict: "failure", trip: { cause: "credential", millis: 400 } },
  "used-up quota": { verdict: "failure", trip: { cause: "quota", millis: 3000 } },
  "refused key, else ignored": { verdict: "ignored", trip: { cause: "credential", millis: 60 } },
  "missing model": { verdict: "failure", trip: { cause: "unavailable", millis: 1 }, retryAfter: 170 }
}

/** Each as likely as the others, which small runs of an integer schema do not give. */
const upTo = (most: number) => Schema.Literals(Array.from({ length: most + 1 }, (_, i) => i))

/** Failures most, so that there is something to see. */
const often = { failure: 7, success: 4, "slow success": 3 }
const Result = Schema.Literals([
  ...Object.entries(often).flatMap(([name, times]) => Array.from({ length: times }, () => name)),
  ...Object.keys(outcomes)
])
const On = Schema.Literals(["a", "a", "a", "b"])
/** For those that a ramp lets go or not. */
const Chance = Schema.Literals([0, 0.05, 0.1 - 1e-9, 0.1, 0.2, 1 / 3 - 1e-9, 0.4, 0.7, 1 - 1e-9])

const Admit = Schema.Struct({ op: Schema.Literal("admit"), on: On, chance: Chance })
/** A whole call: what went is answered at once. */
const Call = Schema.Struct({ op: Schema.Literal("call"), on: On, chance: Chance, result: Result })
/** Of all calls so far, the last ones first: some have been answered before. */
const Record = Schema.Struct({ op: Schema.Literal("record"), on: On, call: upTo(7), result: Result })
const Pass = Schema.Struct({
  op: Schema.Literal("pass"),
  millis: Schema.Literals([0, 1, 7, 20, 49, 50, 100, 333, 1000])
})
/** To a moment at which something changes by itself, the next ones first, or to one millisecond before. */
const To = Schema.Struct({ op: Schema.Literal("to"), on: On, boundary: upTo(3), before: Schema.Literals([0, 1]) })
const Force = Schema.Struct({ op: Schema.Literals(["isolate", "reset"]), on: On })
const Peek = Schema.Struct({ op: Schema.Literal("peek"), on: On })

const Run = Schema.Struct({
  rules: Schema.Literals(Object.keys(ruleSets)),
  /** Without, most is seen of what a circuit does by itself. */
  byHand: Schema.Literals([false, false, true]),
  steps: Schema.Array(
    Schema.Union([Admit, Admit, Call, Call, Call, Call, Record, Record, Record, Pass, Pass, To, To, To, Force, Peek])
  ).check(Schema.isMinLength(60), Schema.isMaxLength(120))
})

type Step = (typeof Run.Type)["steps"][number]

/** No two draws are the same, but for one that a test has asked for. */
class Script {
  next: number | undefined
  private drawn = 0

  readonly random = {
    nextDoubleUnsafe: () => {
      const { next } = this
      this.next = undefined
      if (next !== undefined) return next
      this.drawn = (this.drawn * 16_807 + 11) % 2_147_483_647
      return this.drawn / 2_147_483_647
    },
    nextIntUnsafe: () => (this.drawn = (this.drawn * 16_807 + 11) % 2_147_483_647)
  }
}

/** One circuit, and what is known of it. */
class Side {
  readonly model: CircuitModel
  readonly calls: Array<{ readonly admission: Admission; readonly ticket: Ticket }> = []
  /** Generations as the store names them. */
  readonly names = new Map<Period, string>()
  readonly leases = new Set<string>()

  constructor(rules: Rules, now: number) {
    this.model = new CircuitModel(rules, now)
  }
}

const start = Date.UTC(2026, 10, 24, 12, 0, 0, 1)

class Trial {
  now = start
  private readonly rules: Rules
  private readonly store: Service
  private readonly script: Script
  private readonly setTime: (millis: number) => Effect.Effect<void>
  private readonly sides: ReadonlyMap<string, Side>

  constructor(rules: Rules, store: Service, script: Script, setTime: (millis: number) => Effect.Effect<void>) {
    this.rules = rules
    this.store = store
    this.script = script
    this.setTime = setTime
    this.sides = new Map(["a", "b"].map((name) => [name, new Side(rules, start)]))
  }

  private side(on: string): Side {
    return this.sides.get(on) ?? assert.fail("no such circuit")
  }

  step(step: Step): Effect.Effect<void> {
    if (step.op === "pass") return this.to(this.now + step.millis)
    if (step.op === "record") return this.record(step.on, step.call, step.result)
    if (step.op === "admit") return Effect.asVoid(this.admit(step.on, step.chance))
    const { model } = this.side(step.on)
    if (step.op === "call") {
      const admitted = this.admit(step.on, step.chance)
      return Effect.flatMap(admitted, (admitted) => (admitted ? this.record(step.on, 0, step.result) : Effect.void))
    }
    if (step.op === "to") {
      const boundaries = model.boundaries(this.now)
      const at = boundaries[step.boundary % Math.max(1, boundaries.length)]
      return at === undefined ? Effect.void : this.to(at - step.before)
    }
    if (step.op === "peek") {
      const peeked = this.store.peek(step.on, this.rules)
      return Effect.map(peeked, (answer) => assert.deepStrictEqual(answer, model.refusal(this.now)))
    }
    return Effect.map(this.store[step.op](step.on), () => model[step.op](this.now))
  }

  private to(millis: number): Effect.Effect<void> {
    this.now = millis
    return this.setTime(millis)
  }

  private admit(on: string, chance: number): Effect.Effect<boolean> {
    const side = this.side(on)
    this.script.next = chance
    return Effect.map(this.store.admit(on, this.rules), (answer) => {
      this.script.next = undefined
      const expected = side.model.admit(this.now, chance)
      if (!("period" in expected)) {
        assert.deepStrictEqual<Ticket | Refusal>(answer, expected)
        return false
      }
      if (!("generation" in answer)) return assert.fail(`refused: ${JSON.stringify(answer)}`)
      this.assertTicket(side, expected, answer)
      side.calls.push({ admission: expected, ticket: answer })
      return true
    })
  }

  private assertTicket(side: Side, { period, tries }: Admission, { generation, lease }: Ticket): void {
    if (!side.names.has(period)) assert.notInclude([...side.names.values()], generation, "each state has its own name")
    side.names.set(period, side.names.get(period) ?? generation)
    assert.strictEqual(generation, side.names.get(period), "a state keeps its name")
    assert.strictEqual(lease !== undefined, tries)
    if (lease === undefined) return
    assert.isFalse(side.leases.has(lease), "each lease is one's own")
    side.leases.add(lease)
  }

  private record(on: string, nth: number, result: string): Effect.Effect<void> {
    const side = this.side(on)
    const call = side.calls.at(-1 - nth)
    const outcome = outcomes[result] ?? assert.fail("no such outcome")
    if (call === undefined) return Effect.void
    return Effect.map(this.store.record(on, this.rules, call.ticket, outcome), () =>
      side.model.record(call.admission, outcome, this.now)
    )
  }

  assertEqual(): Effect.Effect<void> {
    return Effect.forEach(
      this.sides,
      ([on, { model }]) =>
        Effect.map(this.store.read(on), (snapshot) => {
          const { cause, since, state, until } = model.current
          assert.deepInclude(snapshot, { state, cause })
          if (model.periods.length > 1) assert.strictEqual(snapshot.since, since)
          if (state === "open") assert.strictEqual(snapshot.until, until)
          if (state !== "closed") return
          assert.deepInclude(snapshot, { consecutiveFailures: model.consecutiveFailures(), ...model.window(this.now) })
        }),
      { discard: true }
    )
  }
}

interface AgreementOptions {
  readonly runs: number
  /** Makes it so late, in milliseconds, for the store. Default: the clock of tests. */
  readonly setTime?: ((millis: number) => Effect.Effect<void>) | undefined
  /** Longest that all runs may take, in milliseconds. */
  readonly timeout?: number | undefined
}

/**
 * The property, as one test. `makeStore` is run anew for each run, in a scope of its own: the circuits "a" and "b" must be
 * unknown to it. It takes chance from `Random`; in a ramp the first number that it draws decides.
 */
export const agrees = (
  makeStore: Effect.Effect<Service, never, Scope.Scope>,
  { runs, setTime = TestClock.setTime, timeout = 60_000 }: AgreementOptions
): void =>
  it.effect.prop(
    "are in the state that the model is in, and admit what it admits, to the millisecond",
    [Run],
    ([run]) =>
      Effect.gen(function* () {
        yield* setTime(start)
        const script = new Script()
        const store = yield* Effect.provideService(makeStore, Random.Random, script.random)
        const trial = new Trial(ruleSets[run.rules] ?? assert.fail("no such rules"), store, script, setTime)
        yield* trial.assertEqual()
        for (const step of run.steps) {
          if (!run.byHand && (step.op === "isolate" || step.op === "reset")) continue
          yield* trial.step(step)
          yield* trial.assertEqual()
        }
      }).pipe(Effect.scoped),
    { timeout, arbitrary: { runs } }
  )
