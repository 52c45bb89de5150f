/** Reservations before a call: one atomic step per store, and nothing is held while somebody waits. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Claim, Reserving } from "../Gate.ts"
import { RateLimitExceeded, type Reason, TimedOut } from "../LlmError.ts"
import type * as QuotaStore from "../QuotaStore.ts"
import type { Step } from "./admission.ts"
import { onTheSpot } from "./onTheSpot.ts"
import type { Running } from "./running.ts"

/** How long a reservation lives without a word from its holder; the store renews those of calls that go on. */
const leaseTtl = Duration.seconds(60)

interface Group {
  readonly name: string
  readonly store: QuotaStore.Service
  readonly gates: ReadonlyArray<Reserving>
}

/** A run of neighbouring reservations, those on the same store as one. */
export const reserving = (run: ReadonlyArray<Reserving>): Step => {
  const groups = grouped(run)
  return (running) => {
    const reservation = new Reservation(running, groups)
    const turns = reservation.turns()
    return turns === undefined ? reservation.ask() : Effect.flatMap(turns, () => reservation.ask() ?? Effect.void)
  }
}

const grouped = (run: ReadonlyArray<Reserving>): ReadonlyArray<Group> => {
  const groups: Array<Group & { readonly gates: Array<Reserving> }> = []
  for (const gate of run) {
    const last = groups.at(-1)
    if (last?.store === gate.store) last.gates.push(gate)
    else groups.push({ name: gate.name, store: gate.store, gates: [gate] })
  }
  return groups
}

class Reservation {
  private readonly running: Running
  private readonly groups: ReadonlyArray<Group>
  private readonly claims: ReadonlyArray<ReadonlyArray<Claim>>
  /** Where in the permits of the attempt those of this run begin. */
  private readonly base: number

  constructor(running: Running, groups: ReadonlyArray<Group>) {
    this.running = running
    this.groups = groups
    this.claims = groups.map((group) => group.gates.map((gate) => gate.claim(running)))
    this.base = running.permits.length
  }

  turns(): Effect.Effect<void, Reason> | undefined {
    const turns = this.claims.flat().flatMap((claim) => (claim.turn === undefined ? [] : [claim.turn]))
    return turns.length === 0 ? undefined : Effect.all(turns, { discard: true })
  }

  /** Asks store after store; `undefined` when all granted on the spot. */
  ask(from = 0): Effect.Effect<void, Reason> | undefined {
    for (let i = from; i < this.groups.length; i++) {
      const group = this.groups[i]
      const claims = this.claims[i]
      if (group === undefined || claims === undefined) continue
      const lease = this.running.lease()
      const entries = claims.length === 1 && claims[0] ? claims[0].entries : claims.flatMap((claim) => claim.entries)
      const asked = group.store.reserve(lease, entries, leaseTtl)
      const exit = onTheSpot(asked)
      if (exit !== undefined && Exit.isSuccess(exit)) {
        const pending = this.answered(group, claims, lease, exit.value)
        if (pending !== undefined) return pending
        continue
      }
      // an answer that is lost may still be carried out: the permit is held from the question on
      this.hold(group, claims, lease)
      return Effect.flatMap(Effect.uninterruptible(asked), (answer) => {
        this.running.permits.pop()
        return this.answered(group, claims, lease, answer) ?? this.ask(i + 1) ?? Effect.void
      })
    }
    return undefined
  }

  private hold(group: Group, claims: ReadonlyArray<Claim>, lease: string): void {
    this.running.permits.push({
      name: group.name,
      settle: (settlement) =>
        Effect.orDie(
          group.store.settle(
            lease,
            claims.flatMap((claim) => claim.actual(settlement))
          )
        )
    })
  }

  private answered(
    group: Group,
    claims: ReadonlyArray<Claim>,
    lease: string,
    answer: QuotaStore.Granted | QuotaStore.Denied
  ): Effect.Effect<void, Reason> | undefined {
    if (answer._tag === "Denied") return this.denied(claims, answer)
    this.hold(group, claims, lease)
    let at = 0
    for (const claim of claims) {
      claim.granted?.(answer.remaining.slice(at, at + claim.entries.length))
      at += claim.entries.length
    }
    return undefined
  }

  /** Gives back what other stores granted, lets the claim decide, and asks all of them again. */
  private denied(claims: ReadonlyArray<Claim>, answer: QuotaStore.Denied): Effect.Effect<void, Reason> {
    let index = answer.entry
    const claim = claims.find((one) => index < one.entries.length || ((index -= one.entries.length), false))
    if (claim === undefined)
      return Effect.die(new Error(`the store denied entry ${answer.entry}, which was not asked for`))
    const back = this.running.giveBack(this.base)
    return Effect.flatMap(
      Effect.flatMap(back, () => claim.denied({ ...answer, entry: index })),
      () => this.again(claim)
    )
  }

  private again(claim: Claim): Effect.Effect<void, Reason> {
    const { deadline, mayWait, startedAt } = this.running
    if (!mayWait) return Effect.fail(new RateLimitExceeded({ limit: claim.entries[0]?.key ?? "", why: "limited" }))
    const waited = this.running.now()
    if (waited < deadline) return this.ask() ?? Effect.void
    return Effect.fail(new TimedOut({ phase: "total", after: Duration.millis(waited - startedAt) }))
  }
}
