/** Reservations before a call: one atomic step per store, and nothing is held while somebody waits. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Claim, Reserving, Settlement } from "../Gate.ts"
import type { Charge } from "../Ledger.ts"
import { RateLimitExceeded, type Reason } from "../LlmError.ts"
import type * as QuotaStore from "../QuotaStore.ts"
import type { Step } from "./admission.ts"
import { onTheSpot } from "./onTheSpot.ts"
import type { Running } from "./running.ts"

/** How long a reservation lives without a word from its holder; the store renews those of calls that go on. */
const leaseTtl = Duration.seconds(60)

interface Group {
  readonly name: string
  readonly store: Reserving["store"]
  readonly gates: ReadonlyArray<Reserving>
}

/** A run of neighbouring reservations, those on the same store as one. */
export const reserving = (run: ReadonlyArray<Reserving>): Step => {
  const groups = grouped(run)
  return (running) => {
    const reservation = new Reservation(running, groups)
    const turns = reservation.turns()
    if (turns === undefined) return reservation.ask()
    const exit = onTheSpot(turns)
    return exit !== undefined && Exit.isFailure(exit) ? exit : Effect.flatMap(turns, () => reservation.askInTime())
  }
}

const grouped = (run: ReadonlyArray<Reserving>): ReadonlyArray<Group> => {
  const groups: Array<Array<Reserving>> = []
  for (const gate of run) {
    const last = groups.at(-1)
    if (last?.[0]?.store === gate.store) last.push(gate)
    else groups.push([gate])
  }
  return groups.flatMap((gates) => {
    const name = gates.map((gate) => gate.name).join(" and ")
    return gates[0] === undefined ? [] : { name, store: gates[0].store, gates }
  })
}

/** What one call claims of one store. */
interface Asked {
  readonly group: Group
  readonly claims: ReadonlyArray<Claim>
  /** The entries of each claim, as they were asked for last. */
  parts: ReadonlyArray<ReadonlyArray<QuotaStore.Entry>>
}

class Reservation {
  private readonly running: Running
  private readonly asked: ReadonlyArray<Asked>
  /** Where in the permits of the attempt those of this run begin. */
  private readonly base: number

  constructor(running: Running, groups: ReadonlyArray<Group>) {
    this.running = running
    this.asked = groups.map((group) => ({ group, claims: group.gates.map((gate) => this.claim(gate)), parts: [] }))
    this.base = running.permits.length
  }

  /** What a claim does at the end it does behind every settle, also where it was never granted. */
  private claim(gate: Reserving): Claim {
    const claim = gate.claim(this.running)
    if (claim.over !== undefined) {
      this.running.permits.push({ name: gate.name, settle: (settlement) => claim.over?.(settlement) ?? Effect.void })
    }
    return claim
  }

  turns(): Effect.Effect<void, Reason> | undefined {
    let turns: Effect.Effect<void, Reason> | undefined
    for (const { claims } of this.asked)
      for (const { turn } of claims)
        if (turn !== undefined) turns = turns === undefined ? turn : Effect.andThen(turns, turn)
    return turns
  }

  /** Asks store after store; `undefined` when all granted on the spot. */
  ask(from = 0): Effect.Effect<void, Reason> | undefined {
    for (let i = from; i < this.asked.length; i++) {
      const asked = this.asked[i]
      if (asked === undefined) continue
      const answer = this.reserve(asked)
      const exit = onTheSpot(answer)
      if (exit === undefined || Exit.isFailure(exit))
        return Effect.flatMap(answer, (answer) => this.answered(asked, answer) ?? this.ask(i + 1) ?? Effect.void)
      const pending = this.answered(asked, exit.value)
      if (pending !== undefined) return pending
    }
    return undefined
  }

  /** After a wait: the deadline may have passed. */
  askInTime(): Effect.Effect<void, Reason> {
    return this.running.late() ?? this.ask() ?? Effect.void
  }

  /** The lease is held from the question on: an answer that is lost may still be carried out, and must be undone. */
  private reserve(asked: Asked) {
    const { claims, group } = asked
    const lease = this.running.unique()
    const parts = claims.map((claim) => claim.entries)
    asked.parts = parts
    const settle = (settlement: Settlement) => settled(group.store, lease, claims, parts, settlement)
    this.running.permits.push({ name: group.name, settle })
    return group.store.reserve(lease, parts.length === 1 && parts[0] ? parts[0] : parts.flat(), leaseTtl)
  }

  private answered(asked: Asked, answer: QuotaStore.Granted | QuotaStore.Denied) {
    if (answer._tag === "Denied") {
      this.running.permits.pop()
      return this.denied(asked, answer)
    }
    let from = 0
    for (const [i, claim] of asked.claims.entries()) {
      const to = from + (asked.parts[i]?.length ?? 0)
      claim.granted?.(answer.remaining.slice(from, to), answer.now)
      from = to
    }
    return undefined
  }

  /** Gives back what other stores granted, lets the claim decide, and asks all of them again. */
  private denied({ claims, group, parts }: Asked, denied: QuotaStore.Denied): Effect.Effect<void, Reason> {
    let from = 0
    for (const [i, claim] of claims.entries()) {
      const to = from + (parts[i]?.length ?? 0)
      if (denied.entry < to) {
        const own = { ...denied, entry: denied.entry - from, remaining: denied.remaining.slice(from, to) }
        const decided = this.running.holdsSince(this.base)
          ? Effect.flatMap(this.running.giveBack(this.base), () => claim.denied(own))
          : claim.denied(own)
        const exit = onTheSpot(decided)
        if (exit !== undefined && Exit.isFailure(exit)) return exit
        return Effect.flatMap(decided, () => this.again(group.gates[i]?.name ?? group.name))
      }
      from = to
    }
    return Effect.die(new Error(`the store denied entry ${denied.entry}, which was not asked for`))
  }

  private again(limit: string): Effect.Effect<void, Reason> {
    return this.running.mayWait ? this.askInTime() : Effect.fail(new RateLimitExceeded({ limit, why: "limited" }))
  }
}

/** A claim that does not say what became of an entry, or throws, has used what it reserved: never what its neighbour did. */
const settled = (
  store: Reserving["store"],
  lease: string,
  claims: ReadonlyArray<Claim>,
  parts: ReadonlyArray<ReadonlyArray<QuotaStore.Entry>>,
  settlement: Settlement
) => {
  const used: Array<number> = []
  const defects: Array<unknown> = []
  let charge: Charge | undefined
  for (const [i, claim] of claims.entries()) {
    let actual: ReadonlyArray<number> = []
    try {
      actual = claim.actual(settlement)
      charge ??= claim.charge?.(settlement)
    } catch (defect) {
      defects.push(defect)
    }
    for (const [at, entry] of (parts[i] ?? []).entries()) used.push(actual[at] ?? entry.amount)
  }
  const settled = store.settle(lease, used, charge)
  return defects.length === 0 ? settled : Effect.andThen(settled, Effect.die(defects[0]))
}
