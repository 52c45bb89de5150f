/** The state machine alone: every rule on both sides of its boundary. Times are milliseconds from 0. */
import { assert, describe, it } from "@effect/vitest"
import * as machine from "../src/internal/circuit.ts"

const calls = (size: number) => ({ _tag: "calls", size }) as const
const time = (span: number) => ({ _tag: "time", span }) as const

/** Above any share. */
const never = 2

/** Nothing opens it, but what a test adds. */
const quiet: machine.Rules = {
  consecutive: Infinity,
  window: calls(100),
  minimumCalls: 10,
  failureRate: never,
  slowRate: never,
  openFor: [1000],
  maxOpenFor: 10_000,
  jitter: 0,
  healthyAfter: 60_000,
  probes: 1,
  successes: 1,
  probeLease: 500,
  ramp: 0
}

const failure = { verdict: "failure" } as const
const success = { verdict: "success" } as const
const ignored = { verdict: "ignored" } as const
const slow = { verdict: "success", slow: true } as const
const slowFailure = { verdict: "failure", slow: true } as const
const locked = { verdict: "failure", trip: { cause: "credential", millis: 7000 } } as const

class Machine {
  circuit: machine.Circuit
  now: number
  rules: machine.Rules
  /** What chance says instead of what no two calls get. */
  random: number | undefined
  private readonly json: boolean
  private drawn = 0

  constructor(json: boolean, rules: Partial<machine.Rules>) {
    this.json = json
    this.rules = { ...quiet, ...rules }
    this.now = 0
    this.circuit = machine.fresh(0)
  }

  private readonly chance: machine.Chance = {
    random: () => this.random ?? ((this.drawn = (this.drawn * 16_807 + 11) % 2_147_483_647), this.drawn / 2_147_483_647)
  }

  private given(): machine.Circuit {
    if (this.json) this.circuit = JSON.parse(JSON.stringify(this.circuit))
    return this.circuit
  }

  at(now: number): this {
    this.now = now
    return this
  }

  pass(millis: number): this {
    return this.at(this.now + millis)
  }

  get state(): machine.State {
    return this.circuit.state
  }

  peek(): machine.Refusal | undefined {
    return machine.peek(this.given(), this.rules, this.now)
  }

  ask(): machine.Ticket | machine.Refusal {
    return machine.admit(this.given(), this.rules, this.now, this.chance)
  }

  admitted(): machine.Ticket {
    const refused = this.peek()
    const answer = this.ask()
    if ("undecided" in answer) return assert.fail(`refused, ${JSON.stringify(answer)}`)
    assert.isUndefined(refused, "peek says what admit does")
    return answer
  }

  /** One that tries. */
  probe(): machine.Ticket {
    const ticket = this.admitted()
    assert.isString(ticket.lease)
    assert.strictEqual(this.state, "halfOpen")
    return ticket
  }

  /** One that does not try. */
  passes(): machine.Ticket {
    const ticket = this.admitted()
    assert.isUndefined(ticket.lease)
    return ticket
  }

  refusal(): machine.Refusal {
    const before = JSON.stringify(this.circuit)
    const peeked = this.peek()
    const answer = this.ask()
    if (!("undecided" in answer)) return assert.fail("admitted")
    assert.deepStrictEqual(answer, peeked)
    assert.strictEqual(JSON.stringify(this.circuit), before, "a refusal changes nothing")
    return answer
  }

  record(ticket: machine.Ticket, outcome: machine.Outcome): machine.Change | undefined {
    const from = this.state
    const generation = this.circuit.generation
    const change = machine.record(this.given(), this.rules, this.now, this.chance, ticket, outcome)
    assert.deepStrictEqual(change, from === this.state ? undefined : { from, to: this.state }, "the change is told")
    assert.strictEqual(generation !== this.circuit.generation, change !== undefined, "each state has a generation")
    return change
  }

  /** Checks that a result changes nothing. */
  means(ticket: machine.Ticket, outcome: machine.Outcome, nothing: "nothing"): void {
    const before = JSON.stringify(this.circuit)
    assert.isUndefined(this.record(ticket, outcome))
    assert.strictEqual(JSON.stringify(this.circuit), before, nothing)
  }

  /** Calls, one after the other. */
  calls(...outcomes: ReadonlyArray<machine.Outcome>): this {
    for (const outcome of outcomes) this.record(this.admitted(), outcome)
    return this
  }

  times(n: number, outcome: machine.Outcome): this {
    for (let i = 0; i < n; i++) this.calls(outcome)
    return this
  }

  isolate(): machine.Change | undefined {
    return machine.isolate(this.given(), this.now, this.chance)
  }

  reset(): machine.Change | undefined {
    return machine.reset(this.given(), this.now, this.chance)
  }

  is(state: machine.State, cause?: machine.Cause): this {
    assert.strictEqual(this.state, state)
    assert.strictEqual(this.circuit.cause, cause)
    return this
  }

  /** For how long it is open. */
  get openFor(): number {
    assert.strictEqual(this.state, "open")
    return this.circuit.until - this.now
  }

  /** Waits until it may be tried, and tries. */
  tries(outcome: machine.Outcome): this {
    return this.at(this.circuit.until).calls(outcome)
  }
}

describe.each([
  ["as it is", false],
  ["written as JSON and read again between any two steps", true]
])("a circuit %s", (_, json) => {
  const circuit = (rules: Partial<machine.Rules> = {}) => new Machine(json, rules)

  /** One that a failure opens, that is open. */
  const opened = (rules: Partial<machine.Rules> = {}) => circuit({ consecutive: 1, ...rules }).calls(failure)

  describe("failures in a row", () => {
    it("open it with the last of them, and not before", () => {
      const c = circuit({ consecutive: 5 }).times(4, failure).is("closed")
      c.passes()
      c.calls(failure).is("open", "failures")
    })

    it("begin anew after a success", () => {
      const c = circuit({ consecutive: 5 }).times(4, failure).calls(success).times(4, failure).is("closed")
      c.calls(failure).is("open", "failures")
    })

    it("go on over what is ignored", () => {
      const c = circuit({ consecutive: 5 }).times(4, failure).times(3, ignored).is("closed")
      assert.strictEqual(c.circuit.consecutive, 4)
      c.calls(failure).is("open", "failures")
    })

    it("are those of the order in which they ended", () => {
      const c = circuit({ consecutive: 2 })
      const [first, second, third] = [c.passes(), c.passes(), c.passes()]
      c.record(third, failure)
      c.record(first, success)
      c.record(second, failure)
      c.is("closed").calls(failure).is("open", "failures")
    })

    it("open nothing, any number of them, where no number is given", () => {
      circuit().times(500, failure).is("closed")
    })
  })

  describe("a share of failures in the last calls", () => {
    const rates = { failureRate: 0.5, window: calls(20), minimumCalls: 10 }

    it("says nothing before there are enough calls", () => {
      const c = circuit(rates).times(9, failure).is("closed")
      c.calls(failure).is("open", "failures")
    })

    it("opens it at the share, also when a success is the last call", () => {
      circuit(rates).times(5, failure).times(4, success).is("closed").calls(success).is("open", "failures")
    })

    it("does not count what is ignored as a call", () => {
      circuit(rates).times(9, failure).times(20, ignored).is("closed").calls(failure).is("open", "failures")
    })

    it("opens it at 50 of 100 and not at 49", () => {
      const half = { failureRate: 0.5, window: calls(100), minimumCalls: 100 }
      circuit(half).times(49, failure).times(51, success).is("closed")
      circuit(half).times(49, failure).times(50, success).calls(failure).is("open", "failures")
    })

    it.each([
      [0.07, 7],
      [0.14, 14],
      [0.28, 28],
      [0.29, 29],
      [0.55, 55],
      [0.56, 56],
      [0.57, 57],
      [0.58, 58]
    ])("opens it at exactly that share, however it is rounded: %s of 100", (failureRate, failures) => {
      const share = { failureRate, window: calls(100), minimumCalls: 100 }
      circuit(share)
        .times(failures - 1, failure)
        .times(101 - failures, success)
        .is("closed")
      circuit(share)
        .times(100 - failures, success)
        .times(failures, failure)
        .is("open", "failures")
    })

    it("of all calls opens it only when all have failed", () => {
      const all = { failureRate: 1, window: calls(10) }
      circuit(all).calls(success).times(9, failure).is("closed").calls(failure).is("open", "failures")
    })

    it("forgets the oldest call with each one more than it holds", () => {
      const window = { failureRate: 0.5, window: calls(10) }
      const c = circuit(window).times(4, failure).times(6, success).is("closed")
      c.calls(failure).is("closed") // in place of a failure
      assert.deepInclude(c.circuit.window, { calls: 10, failures: 4 })
      c.times(3, failure).is("closed") // in place of the other three
      c.calls(failure).is("open", "failures") // in place of a success
    })

    it("goes round and round", () => {
      const c = circuit({ failureRate: 0.5, window: calls(4), minimumCalls: 4 })
      for (let i = 0; i < 100; i++) c.calls(failure, success, success, success)
      c.is("closed")
      assert.deepInclude(c.circuit.window, { calls: 4, failures: 1, slow: 0 })
      assert.strictEqual(c.circuit.window.ring.length, 4)
      c.calls(success, failure).is("closed").calls(failure).is("open", "failures")
    })

    it("is that of one call in a window of one call", () => {
      const c = circuit({ failureRate: 1, window: calls(1), minimumCalls: 1 })
      c.times(3, success).is("closed")
      assert.deepInclude(c.circuit.window, { calls: 1, failures: 0 })
      c.calls(failure).is("open", "failures")
    })
  })

  describe("a share of failures in the last second", () => {
    const rates = { failureRate: 0.5, window: time(1000), minimumCalls: 10 }

    it("says nothing before there are enough calls", () => {
      circuit(rates).times(9, failure).is("closed").calls(failure).is("open", "failures")
    })

    it("opens it at 50 of 100 and not at 49", () => {
      const half = { ...rates, minimumCalls: 100 }
      circuit(half).times(49, failure).times(51, success).is("closed")
      circuit(half).times(49, failure).times(50, success).calls(failure).is("open", "failures")
    })

    it("forgets calls when the tenth part after theirs begins, and not a millisecond before", () => {
      const c = circuit(rates).at(5099).times(9, failure).at(5999).calls(success)
      assert.strictEqual(c.state, "open")
      const later = circuit(rates).at(5099).times(9, failure).at(6000).calls(success).is("closed")
      assert.deepInclude(later.circuit.window, { calls: 1, failures: 0 })
      circuit(rates).at(5000).times(9, failure).at(5999).calls(failure).is("open", "failures")
      circuit(rates).at(5000).times(9, failure).at(6000).calls(failure).is("closed")
    })

    it("forgets one part after the other", () => {
      const c = circuit({ ...rates, minimumCalls: 1000 })
      for (let i = 0; i < 30; i++) c.at(5000 + 100 * i).calls(i % 3 === 0 ? slowFailure : failure, slow, success)
      assert.deepInclude(c.circuit.window, { calls: 30, failures: 10, slow: 13 })
      c.pass(500).calls(ignored, success)
      assert.deepInclude(c.circuit.window, { calls: 16, failures: 5, slow: 6 })
      c.pass(100_000).calls(failure)
      assert.deepInclude(c.circuit.window, { calls: 1, failures: 1, slow: 0 })
      assert.strictEqual(c.circuit.window.ring.length, 30, "it does not grow")
    })
  })

  describe("slow calls", () => {
    const rates = { slowRate: 0.5, window: calls(10), minimumCalls: 4 }

    it("open it at their share of enough calls, failed or not", () => {
      circuit(rates).times(3, slow).is("closed").calls(slow).is("open", "slow")
      circuit(rates).calls(slow, success, success, success).is("closed").calls(success, slow).is("closed")
      circuit(rates).calls(slow, success, success).is("closed").calls(slow).is("open", "slow")
      circuit(rates).calls(slowFailure, success, success, slow).is("open", "slow")
    })

    it("count for nothing where there is no such share, or where they are ignored", () => {
      circuit({ failureRate: 1, minimumCalls: 4 }).times(100, slow).is("closed")
      circuit(rates).times(100, { verdict: "ignored", slow: true }).is("closed")
    })

    it("leave the window as failures do", () => {
      const c = circuit({ ...rates, slowRate: 0.3, minimumCalls: 10 })
        .calls(success, success, success, slow, slow)
        .times(5, success)
      c.times(3, success).is("closed")
      assert.deepInclude(c.circuit.window, { calls: 10, slow: 2 })
      c.calls(success, success)
      assert.deepInclude(c.circuit.window, { calls: 10, slow: 0 })
      c.calls(slow, slow).is("closed").calls(slow).is("open", "slow")
    })

    it("that succeed end a row of failures", () => {
      circuit({ consecutive: 2 }).calls(failure, slow, failure).is("closed").calls(failure).is("open", "failures")
    })
  })

  describe("several rules", () => {
    const both = { consecutive: 3, failureRate: 0.5, slowRate: 0.5, window: calls(10), minimumCalls: 4 }

    it("open it by the first that is met", () => {
      circuit(both).times(3, failure).is("open", "failures")
      circuit(both).calls(failure, success, failure, success).is("open", "failures")
      circuit(both).calls(slow, success, failure, slow).is("open", "slow")
    })

    it("name failures where failures and slow calls open it at once", () => {
      circuit(both).calls(slow, success, slowFailure, failure).is("open", "failures")
    })
  })

  describe("an open circuit", () => {
    it("refuses until its time is over, and says how long that takes", () => {
      const c = opened()
      assert.deepStrictEqual(c.refusal(), { cause: "failures", retryAfter: 1000, undecided: false })
      assert.deepStrictEqual(c.pass(999).refusal(), { cause: "failures", retryAfter: 1, undecided: false })
      assert.isUndefined(c.pass(1).peek())
      c.is("open", "failures") // to look changes nothing
      c.probe()
      c.is("halfOpen", "failures")
    })

    it("is open from when it opened, not from when the call began", () => {
      const c = circuit({ consecutive: 1 })
      const ticket = c.passes()
      c.at(5000).record(ticket, failure)
      assert.deepInclude(c.circuit, { since: 5000, until: 6000 })
    })

    it("opens for longer each time, and for as long as the last time when there is none left", () => {
      const c = opened({ openFor: [100, 200, 400] })
      const times = [c.openFor]
      for (let i = 0; i < 4; i++) times.push(c.tries(failure).openFor)
      assert.deepStrictEqual(times, [100, 200, 400, 400, 400])
      assert.strictEqual(c.circuit.openings, 5)
    })

    it("opens for longer also when it was closed, but not for long enough to be well", () => {
      const c = opened({ openFor: [100, 200, 400], healthyAfter: 5000 })
        .tries(success)
        .is("closed")
      assert.strictEqual(c.pass(4999).calls(failure).openFor, 200)
      c.tries(success).pass(5000).calls(failure)
      assert.strictEqual(c.openFor, 100)
      assert.strictEqual(c.tries(failure).openFor, 200)
    })

    it("is not well for having been open or tried for long", () => {
      const c = opened({ openFor: [100, 200, 400], healthyAfter: 5000 }).pass(9000)
      assert.strictEqual(c.calls(failure).openFor, 200)
      c.pass(200)
      const ticket = c.probe()
      c.rules = { ...c.rules, probeLease: 100_000 }
      const again = c.pass(500).probe()
      c.pass(50_000).means(ticket, failure, "nothing")
      c.record(again, failure)
      assert.strictEqual(c.openFor, 400)
    })

    it("is open no longer than the longest time, and as long as that", () => {
      assert.strictEqual(opened({ openFor: [10_001] }).openFor, 10_000)
      assert.strictEqual(opened({ openFor: [9999] }).openFor, 9999)
      assert.strictEqual(opened({ openFor: [Infinity] }).openFor, 10_000)
      assert.strictEqual(opened({ openFor: [] }).openFor, 10_000)
    })

    it.each([
      [0, 900],
      [0.25, 950],
      [0.5, 1000],
      [0.999_999, 1100]
    ])("is open for a share less or more, as chance has it: %s", (random, millis) => {
      const c = circuit({ consecutive: 1, jitter: 0.1 })
      const ticket = c.passes()
      c.random = random
      machine.record(c.circuit, c.rules, 0, { random: () => random }, ticket, failure)
      assert.strictEqual(c.openFor, millis)
    })

    it("adds nothing by chance beyond the longest time", () => {
      const c = circuit({ consecutive: 1, jitter: 0.5, openFor: [9000] })
      machine.record(c.circuit, c.rules, 0, { random: () => 0.999 }, { generation: machine.first }, failure)
      assert.strictEqual(c.openFor, 10_000)
    })

    it("waits for as long as the provider asks, where that is longer, up to the longest time", () => {
      const asked = (retryAfter: number) => circuit({ consecutive: 1 }).calls({ ...failure, retryAfter }).openFor
      assert.deepStrictEqual(
        [0, 999, 1001, 10_000, 10_001, Infinity].map(asked),
        [1000, 1000, 1001, 10_000, 10_000, 10_000]
      )
    })

    it("waits for what the last failure asked for, in both states", () => {
      const c = circuit({ consecutive: 2, openFor: [100] })
      c.calls({ ...failure, retryAfter: 3000 }, { ...failure, retryAfter: 2000 })
      assert.strictEqual(c.openFor, 2000)
      assert.strictEqual(c.tries({ ...failure, retryAfter: 1500 }).openFor, 1500)
    })

    it("stays open for whole milliseconds, never less than asked", () => {
      assert.strictEqual(opened({ openFor: [100.2] }).openFor, 101)
    })

    it("hears nobody, since it admitted nobody", () => {
      const c = opened()
      for (const outcome of [success, failure, ignored, locked])
        c.means({ generation: c.circuit.generation }, outcome, "nothing")
      c.isolate()
      for (const outcome of [success, failure, ignored, locked])
        c.means({ generation: c.circuit.generation }, outcome, "nothing")
    })

    it("does not hear late results", () => {
      const c = circuit({ consecutive: 1 })
      const [first, second] = [c.passes(), c.passes()]
      c.record(first, failure)
      for (const outcome of [success, failure, ignored, slow, locked]) c.means(second, outcome, "nothing")
    })
  })

  describe("a circuit that is tried", () => {
    it("lets as many try as may at the same time, and tells the others when a place is free at the latest", () => {
      const c = opened({ probes: 3, successes: 3 }).pass(1000)
      c.probe()
      c.pass(10).probe()
      c.pass(10).probe()
      assert.deepStrictEqual(c.refusal(), { cause: "failures", retryAfter: 480, undecided: true })
      assert.deepStrictEqual(c.pass(479).refusal(), { cause: "failures", retryAfter: 1, undecided: true })
      c.pass(1).probe()
      assert.deepStrictEqual(c.refusal(), { cause: "failures", retryAfter: 10, undecided: true })
    })

    it("gives each that tries a lease of its own", () => {
      const c = opened({ probes: 3 }).pass(1000)
      const tickets = [c.probe(), c.probe(), c.probe()]
      assert.strictEqual(new Set(tickets.map(({ lease }) => lease)).size, 3)
      assert.strictEqual(new Set(tickets.map(({ generation }) => generation)).size, 1)
    })

    it("closes with the last success that it needs, together", () => {
      const c = opened({ probes: 2, successes: 2 }).pass(1000)
      const [first, second] = [c.probe(), c.probe()]
      c.record(first, success)
      c.is("halfOpen", "failures").record(second, success)
      c.is("closed")
      assert.deepInclude(c.circuit, { since: 1000, consecutive: 0, successes: 0, leases: [] })
    })

    it("closes with the last success that it needs, one after the other", () => {
      const c = opened({ successes: 3 })
        .pass(1000)
        .calls(success)
        .pass(50_000)
        .calls(success)
        .is("halfOpen", "failures")
      c.calls(success).is("closed")
    })

    it("needs all successes anew when it was opened between", () => {
      const c = opened({ successes: 2 }).pass(1000).calls(success, failure).is("open", "failures")
      c.pass(1000).calls(success).is("halfOpen", "failures").calls(success).is("closed")
    })

    it("counts the same result once", () => {
      const c = opened({ probes: 2, successes: 2 }).pass(1000)
      const ticket = c.probe()
      c.record(ticket, success)
      c.means(ticket, success, "nothing")
      c.means(ticket, failure, "nothing")
      c.is("halfOpen", "failures")
    })

    it("opens with the first failure, for longer, by the cause that opened it", () => {
      const c = circuit({ slowRate: 0.5, minimumCalls: 1, probes: 2, successes: 2, openFor: [1000, 3000] })
      c.calls(slow).is("open", "slow").pass(1000)
      const [first, second] = [c.probe(), c.probe()]
      c.record(first, success)
      c.record(second, failure)
      c.is("open", "slow")
      assert.deepInclude(c.circuit, { openings: 2, since: 1000, until: 4000 })
    })

    it("frees the place of one that says nothing, and stays as it is", () => {
      const c = opened({ successes: 2 }).pass(1000).calls(success)
      const ticket = c.probe()
      c.refusal()
      c.pass(1).record(ticket, ignored)
      c.is("halfOpen", "failures").calls(success).is("closed")
    })

    it("frees no place for a lease it does not know", () => {
      const c = opened().pass(1000)
      const ticket = c.probe()
      c.means({ generation: ticket.generation, lease: "another" }, ignored, "nothing")
      c.means({ generation: ticket.generation }, success, "nothing")
      c.refusal()
    })

    it("gives up one that takes too long: its place is free, and its result means nothing", () => {
      const c = opened().pass(1000)
      const late = c.probe()
      c.pass(499).refusal()
      c.pass(1)
      for (const outcome of [success, failure, ignored, locked]) c.means(late, outcome, "nothing")
      const next = c.probe()
      c.means(late, success, "nothing")
      c.means(late, failure, "nothing")
      c.refusal()
      c.record(next, success)
      c.is("closed")
    })

    it("hears one that comes back in the last millisecond", () => {
      const c = opened().pass(1000)
      const ticket = c.probe()
      c.pass(499).record(ticket, success)
      c.is("closed")
    })

    it("keeps no leases that have ended", () => {
      const c = opened({ probes: 2 }).pass(1000)
      for (let i = 0; i < 20; i++) c.pass(500).probe()
      assert.isAtMost(c.circuit.leases.length, 2)
    })

    it("opens for a slow success where slow calls count, and only there", () => {
      opened({ slowRate: 1 }).pass(1000).calls(slow).is("open", "failures")
      opened().pass(1000).calls(slow).is("closed")
      opened({ slowRate: 1 }).pass(1000).calls({ verdict: "ignored", slow: true }).is("halfOpen", "failures")
    })

    it("hears nobody of an earlier state", () => {
      const c = circuit({ consecutive: 1, probes: 2, successes: 2 })
      const [first, closed] = [c.passes(), c.passes()]
      c.record(first, failure)
      const [bad, tried] = [c.pass(1000).probe(), c.probe()]
      for (const outcome of [success, failure, ignored, locked]) c.means(closed, outcome, "nothing")
      c.record(bad, failure)
      for (const outcome of [success, failure, ignored, locked]) c.means(tried, outcome, "nothing")
      const again = c.pass(1000).probe()
      for (const outcome of [success, failure, ignored, locked]) c.means(tried, outcome, "nothing")
      c.record(again, success)
      c.calls(success).is("closed")
      for (const ticket of [closed, tried, again])
        for (const outcome of [success, failure, ignored, locked]) c.means(ticket, outcome, "nothing")
    })

    it("closes with nothing of what it knew", () => {
      const c = circuit({ consecutive: 3, failureRate: 0.5, minimumCalls: 4, window: calls(10) })
      c.times(3, failure).is("open", "failures").tries(success).is("closed")
      assert.deepInclude(c.circuit.window, { calls: 0, failures: 0, slow: 0 })
      c.times(2, failure).is("closed").calls(failure).is("open", "failures")
    })
  })

  describe("what opens it at once", () => {
    it.each(["credential", "quota", "unavailable"] as const)("opens it for a time of its own: %s", (cause) => {
      const trip = { verdict: "failure", trip: { cause, millis: 50_000 } } as const
      const c = circuit({ jitter: 0.5 }).calls(trip).is("open", cause)
      assert.strictEqual(c.openFor, 50_000, "beyond the longest time, and not by chance")
      assert.deepStrictEqual(c.refusal(), { cause, retryAfter: 50_000, undecided: false })
      c.pass(49_999).refusal()
      c.pass(1).probe()
    })

    it("opens one that is tried, by its own cause, and frees its place", () => {
      const c = opened({ probes: 2 }).tries(locked).is("open", "credential")
      assert.strictEqual(c.openFor, 7000)
      assert.strictEqual(c.circuit.openings, 2)
      c.tries(failure).is("open", "credential")
      assert.strictEqual(c.openFor, 1000, "as a failure does from then on")
    })

    it("does so whatever else the result says, in both states", () => {
      for (const verdict of ["ignored", "success"] as const) {
        const c = circuit()
          .calls({ ...locked, verdict })
          .is("open", "credential")
        c.tries({ ...locked, verdict }).is("open", "credential")
        assert.strictEqual(c.circuit.openings, 2)
      }
    })

    it("is one opening more in a row", () => {
      const c = circuit({ consecutive: 1, openFor: [100, 200] })
        .calls(locked)
        .tries(success)
      assert.strictEqual(c.calls(failure).openFor, 200)
    })

    it("is the first opening after a healthy time", () => {
      const c = opened({ healthyAfter: 5000 }).tries(success).pass(5000).calls(locked)
      assert.strictEqual(c.circuit.openings, 1)
    })

    it("takes no heed of what the provider asks for", () => {
      assert.strictEqual(circuit().calls({ ...locked, retryAfter: 9000 }).openFor, 7000)
    })
  })

  describe("a ramp", () => {
    /** Whether a call goes when chance says so. */
    const goes = (c: Machine, random: number): boolean => {
      const answer = machine.admit(c.circuit, c.rules, c.now, { random: () => random })
      if (!("undecided" in answer)) return answer.lease === undefined
      assert.deepStrictEqual(answer, { cause: undefined, retryAfter: undefined, undecided: false })
      return false
    }

    const assertShare = (c: Machine, share: number) => {
      assert.isTrue(goes(c, share - 1e-6), `just below ${share}`)
      assert.isFalse(goes(c, share + 1e-6), `just above ${share}`)
      assert.isUndefined(c.peek(), "a circuit that is closed promises nothing")
    }

    it("lets a growing share go when it has closed, a tenth at least, and all of them in the end", () => {
      const c = opened({ ramp: 900 }).tries(success).is("closed")
      assertShare(c, 0.1)
      assert.isFalse(goes(c, 0.1), "a share of 0.1 does not hold 0.1")
      assertShare(c.pass(90), 0.1)
      assertShare(c.pass(1), 91 / 900)
      assertShare(c.pass(209), 1 / 3)
      assertShare(c.pass(599), 899 / 900)
      assert.isTrue(goes(c.pass(1), 0.999_999))
      assert.isTrue(goes(c.pass(100_000), 0.999_999))
    })

    it("begins anew each time it closes", () => {
      const c = opened({ ramp: 900 }).tries(success).pass(900)
      c.calls(failure).is("open", "failures").tries(success)
      assertShare(c, 0.1)
    })

    it("is none where it never opened, and none after a reset", () => {
      assert.isTrue(goes(circuit({ ramp: 900 }), 0.999))
      const c = opened({ ramp: 900 }).tries(success)
      assert.isFalse(goes(c, 0.999))
      c.reset()
      assert.isTrue(goes(c, 0.999))
    })

    it("counts those that go as any others", () => {
      const c = opened({ ramp: 900 }).tries(success).pass(300)
      const ticket = machine.admit(c.circuit, c.rules, c.now, { random: () => 0 })
      if ("undecided" in ticket) return assert.fail("refused")
      c.record(ticket, failure)
      return c.is("open", "failures")
    })
  })

  describe("by hand", () => {
    const states: Record<machine.State, () => Machine> = {
      closed: () => circuit({ consecutive: 2 }).calls(failure),
      open: () => opened({ consecutive: 2 }).calls(failure),
      halfOpen: () => {
        const c = states.open().pass(1000)
        c.probe()
        return c
      },
      isolated: () => {
        const c = states.open()
        c.isolate()
        return c
      }
    }

    it.each(["closed", "open", "halfOpen"] as const)("it is isolated while %s: nobody goes, for any time", (from) => {
      const c = states[from]()
      const ticket = from === "closed" ? c.passes() : undefined
      const { generation } = c.circuit
      assert.deepStrictEqual(c.isolate(), { from, to: "isolated" })
      c.is("isolated", "isolated")
      assert.notStrictEqual(c.circuit.generation, generation)
      const refusal = { cause: "isolated", retryAfter: undefined, undecided: false } as const
      assert.deepStrictEqual(c.refusal(), refusal)
      assert.deepStrictEqual(c.pass(1e12).refusal(), refusal)
      for (const outcome of [success, failure, ignored, locked])
        c.means(ticket ?? { generation, lease: "any" }, outcome, "nothing")
    })

    it("it is isolated once", () => {
      const c = states.isolated()
      const before = JSON.stringify(c.circuit)
      assert.isUndefined(c.pass(5).isolate())
      assert.strictEqual(JSON.stringify(c.circuit), before)
    })

    it.each(["open", "halfOpen", "isolated"] as const)("it is reset while %s, as if nothing had happened", (from) => {
      const c = states[from]().pass(10)
      const { generation } = c.circuit
      assert.deepStrictEqual(c.reset(), { from, to: "closed" })
      c.is("closed")
      assert.notStrictEqual(c.circuit.generation, generation)
      assert.deepInclude(c.circuit, { since: c.now, consecutive: 0, openings: 0, successes: 0, leases: [] })
      c.calls(failure).is("closed").calls(failure).is("open", "failures")
    })

    it("it is reset while it is closed: what runs and what was counts for nothing", () => {
      const c = circuit({ consecutive: 2, failureRate: 0.5, minimumCalls: 3 }).calls(failure)
      const ticket = c.passes()
      assert.isUndefined(c.reset())
      for (const outcome of [success, failure, ignored, locked]) c.means(ticket, outcome, "nothing")
      c.calls(failure).is("closed").calls(success).is("closed")
    })

    it("the next opening after a reset is a first one", () => {
      const c = opened({ openFor: [100, 200] }).tries(failure)
      assert.strictEqual(c.openFor, 200)
      c.reset()
      assert.strictEqual(c.calls(failure).openFor, 100)
    })
  })

  describe("a generation", () => {
    it("is new with each state, and never that of a circuit that is fresh, whatever chance says", () => {
      for (const random of [0, 0.5, 1 - 2 ** -53]) {
        const c = opened()
        c.random = random
        c.isolate()
        assert.notStrictEqual(c.circuit.generation, machine.first)
      }
      const seen = new Set<string>()
      const c = circuit({ consecutive: 1 })
      for (let i = 0; i < 50; i++) {
        seen.add(c.circuit.generation)
        c.calls(failure)
        seen.add(c.circuit.generation)
        c.tries(ignored)
        seen.add(c.circuit.generation)
        c.calls(success)
      }
      assert.strictEqual(seen.size, 150)
    })
  })

  describe("a clock that is put back", () => {
    const hour = 3_600_000

    it("leaves nobody waiting for longer: an open circuit is tried at once", () => {
      const c = opened()
      c.at(-1).probe()
      assert.deepStrictEqual(c.refusal(), { cause: "failures", retryAfter: 500, undecided: true })
    })

    it("within the time that it is open shortens nothing", () => {
      const c = circuit({ consecutive: 1 }).at(hour).calls(failure)
      assert.strictEqual(c.at(hour + 700).refusal().retryAfter, 300)
      assert.strictEqual(c.at(hour + 600).refusal().retryAfter, 400)
      assert.strictEqual(c.at(hour).refusal().retryAfter, 1000)
    })

    it("gives up those that try", () => {
      const c = circuit({ consecutive: 1 }).at(hour).calls(failure).pass(1000)
      c.probe()
      c.at(1000)
      const next = c.probe()
      assert.strictEqual(c.refusal().retryAfter, 500)
      c.record(next, success)
      c.is("closed")
    })

    it("ends a ramp", () => {
      const c = circuit({ consecutive: 1, ramp: 900 }).at(hour).calls(failure).tries(success)
      assert.isTrue("undecided" in machine.admit(c.circuit, c.rules, c.now, { random: () => 0.999 }))
      assert.isFalse("undecided" in machine.admit(c.circuit, c.rules, 1000, { random: () => 0.999 }))
    })

    it("by less than a window forgets nothing", () => {
      const c = circuit({ failureRate: 0.5, window: time(1000), minimumCalls: 10 })
      c.at(5900).times(9, failure).at(5000).calls(failure).is("open", "failures")
    })

    it("by a window or more begins a new one", () => {
      const c = circuit({ failureRate: 0.5, window: time(1000), minimumCalls: 10 })
      c.at(5999).times(9, failure).at(4999).calls(failure).is("closed")
      assert.deepInclude(c.circuit.window, { calls: 1, failures: 1 })
      c.times(8, failure).at(5500).is("closed").calls(failure).is("open", "failures")
    })

    it("does not make it well before its time", () => {
      const c = circuit({ consecutive: 1, openFor: [100, 200], healthyAfter: 5000 })
        .at(hour)
        .calls(failure)
      assert.strictEqual(c.tries(success).at(0).calls(failure).openFor, 200)
    })
  })

  describe("a change of its options", () => {
    it.each([
      ["more calls", calls(5), calls(10)],
      ["fewer calls", calls(10), calls(5)],
      ["a time for calls", calls(10), time(1000)],
      ["calls for a time", time(1000), calls(10)],
      ["a longer time", time(1000), time(2000)]
    ])("begins a new window: %s", (_, before, after) => {
      const c = circuit({ failureRate: 0.5, window: before, minimumCalls: 5 }).times(4, success)
      c.rules = { ...c.rules, window: after }
      c.times(4, failure).is("closed")
      assert.deepInclude(c.circuit.window, { calls: 4, failures: 4, slow: 0 })
      c.calls(failure).is("open", "failures")
    })
  })
})

describe("whether anything depends on the window", () => {
  it.each([
    [1, never, true],
    [never, 1, true],
    [0.1, 0.1, true],
    [never, never, false]
  ])("with shares of %s and %s: %s", (failureRate, slowRate, expected) => {
    assert.strictEqual(machine.hasRates({ ...quiet, failureRate, slowRate }), expected)
    const c = new Machine(false, { failureRate, slowRate, minimumCalls: 50 }).calls(failure, slow)
    assert.strictEqual(c.circuit.window.calls, expected ? 2 : 0)
  })
})
