/** A circuit breaker as the gate of model calls: one circuit for the endpoint and one for the credential. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Service as Store } from "../CircuitBreakerStore.ts"
import type { Admitting, Call, Permit, Settlement } from "../Gate.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import { bare } from "./bare.ts"
import type { Refusal, Rules, Ticket } from "./circuit.ts"
import type { Slowness } from "./circuitRules.ts"
import { type Locks, outcomesOf, type Verdict } from "./circuitVerdict.ts"
import { changed, hasRoom } from "./circuitWait.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { CircuitOpen, type Reason } from "./reasons.ts"

export interface Settings {
  readonly store: Store
  readonly rules: Rules
  readonly slowness: Slowness
  readonly locks: Locks
  readonly classify: ((settlement: Settlement) => Verdict | undefined) | undefined
  /** Waits for the verdict of those who try a circuit. */
  readonly waits: boolean
  readonly shadow: boolean
  readonly now: () => number
  readonly watch: Watcher
}

interface Watcher {
  readonly provider: (circuit: string, provider: Provider) => void
  readonly let: () => void
}

const name = "circuitBreaker"

/** Beside the names that programs give to circuits of their own. */
const endpoints = "ballast:endpoint:"
export const endpointOf = (provider: Pick<Provider, "endpoint">): string => endpoints + provider.endpoint
export const credentialOf = (provider: Provider): string => `ballast:credential:${provider.credential}`

/** As errors name it, which must not name a URL. */
const labelOf = (circuit: string, provider: Provider): string =>
  circuit.startsWith(endpoints) ? `${provider.provider}/${provider.model}` : `${provider.provider} credential`

export const refused = (circuit: string, { cause, retryAfter }: Refusal): CircuitOpen =>
  bare(CircuitOpen, {
    _tag: "CircuitOpen",
    circuit,
    openedBy: cause,
    retryAfter: retryAfter === undefined ? undefined : Duration.millis(retryAfter)
  })

export const isTicket = (answer: Ticket | Refusal): answer is Ticket => "generation" in answer

/** A credential is never sick, nor must it be spared: it is locked, or it is not. */
const withoutRates = (rules: Rules): Rules => ({
  ...rules,
  consecutive: Infinity,
  failureRate: 2,
  slowRate: 2,
  ramp: 0
})

interface Circuits {
  readonly endpoint: string
  readonly credential: string
}

export const make = (settings: Settings): Admitting => {
  const gate = new CircuitGate(settings)
  const admit = (call: Call) => gate.admit(call)
  return settings.shadow
    ? { _tag: "Admitting", name, admit }
    : { _tag: "Admitting", name, peek: (call) => gate.peek(call), admit }
}

class CircuitGate {
  readonly settings: Settings
  readonly lockRules: Rules
  private readonly known = new WeakMap<Provider, Circuits>()

  constructor(settings: Settings) {
    this.settings = settings
    this.lockRules = withoutRates(settings.rules)
  }

  peek(call: Call): Effect.Effect<void, Reason> {
    const { rules, store } = this.settings
    const { credential, endpoint } = this.circuitsOf(call.provider)
    return then(store.peek(endpoint, rules), (refusal) => {
      if (this.refuses(call, refusal)) return Exit.fail(refused(labelOf(endpoint, call.provider), refusal))
      return then(store.peek(credential, this.lockRules), (refusal) =>
        this.refuses(call, refusal) ? Exit.fail(refused(labelOf(credential, call.provider), refusal)) : Exit.void
      )
    })
  }

  admit(call: Call): Effect.Effect<Permit, Reason> {
    const attempt = new Attempt(this, call, this.circuitsOf(call.provider))
    return then(attempt.ask(), (refusal): Effect.Effect<Permit, Reason> => {
      if (refusal === undefined || this.settings.shadow) {
        if (refusal !== undefined) this.settings.watch.let()
        return Exit.succeed(attempt)
      }
      return refusal.waits ? Exit.succeed(attempt.waiting(refusal)) : Exit.fail(refusal.reason)
    })
  }

  /** Where the verdict of others is waited for, that they try is no reason to refuse. */
  refuses(call: Call, refusal: Refusal | undefined): refusal is Refusal {
    return refusal !== undefined && !(refusal.undecided && this.settings.waits && call.mayWait)
  }

  private circuitsOf(provider: Provider): Circuits {
    const found = this.known.get(provider)
    if (found !== undefined) return found
    const circuits = { endpoint: endpointOf(provider), credential: credentialOf(provider) }
    this.known.set(provider, circuits)
    this.settings.watch.provider(circuits.endpoint, provider)
    return circuits
  }
}

interface Refused {
  readonly reason: CircuitOpen
  readonly circuit: string
  readonly waits: boolean
  readonly millis: number
}

class Attempt implements Permit {
  private readonly gate: CircuitGate
  private readonly call: Call
  private readonly circuits: Circuits
  private endpoint: Ticket | undefined
  private credential: Ticket | undefined
  /** Longest that it waits for the verdict of others: as long as one of them may take. */
  private until: number | undefined

  constructor(gate: CircuitGate, call: Call, circuits: Circuits) {
    this.gate = gate
    this.call = call
    this.circuits = circuits
  }

  /** Both circuits or none. */
  ask(): Effect.Effect<Refused | undefined> {
    const { rules, store } = this.gate.settings
    const { credential, endpoint } = this.circuits
    return then(store.admit(endpoint, rules), (answer) => {
      if (!isTicket(answer)) return Exit.succeed(this.refused(endpoint, answer))
      this.endpoint = answer
      return then(store.admit(credential, this.gate.lockRules), (answer) => {
        if (isTicket(answer)) {
          this.credential = answer
          return Exit.succeed(undefined)
        }
        const refused = this.refused(credential, answer)
        return this.gate.settings.shadow ? Exit.succeed(refused) : Effect.as(this.giveBack(), refused)
      })
    })
  }

  /** The permit of one that waits until others have tried; it holds nothing meanwhile. */
  waiting(refusal: Refused): Permit {
    return { ready: this.wait(refusal), settle: (settlement) => this.settle(settlement) }
  }

  readonly settle = (settlement: Settlement): Effect.Effect<void> => {
    const { classify, locks, now, rules, slowness, store } = this.gate.settings
    const { credential, endpoint } = this
    const outcomes = outcomesOf(settlement, slowness, locks, now(), classify)
    const told = endpoint && store.record(this.circuits.endpoint, rules, endpoint, outcomes.endpoint)
    if (credential === undefined) return told ?? Exit.void
    const also = () => store.record(this.circuits.credential, this.gate.lockRules, credential, outcomes.credential)
    return then(told ?? Exit.void, also)
  }

  private wait(refusal: Refused): Effect.Effect<void, Reason> {
    const { now, rules, store } = this.gate.settings
    return Effect.suspend(() => {
      this.until ??= Math.min(this.call.deadline, now() + rules.probeLease)
      const left = this.until - now()
      if (left <= 0) return Effect.fail(refusal.reason)
      const verdict = changed(store, refusal.circuit, Math.min(refusal.millis, left))
      const again = Effect.uninterruptible(Effect.suspend(() => this.ask()))
      return Effect.flatMap(Effect.andThen(verdict, again), (refusal) => {
        if (refusal === undefined) return Effect.void
        return refusal.waits ? this.wait(refusal) : Effect.fail(refusal.reason)
      })
    })
  }

  private giveBack(): Effect.Effect<void> {
    const { endpoint } = this
    this.endpoint = undefined
    const { rules, store } = this.gate.settings
    return endpoint === undefined ? Exit.void : store.record(this.circuits.endpoint, rules, endpoint, ignored)
  }

  private refused(circuit: string, refusal: Refusal): Refused {
    const reason = refused(labelOf(circuit, this.call.provider), refusal)
    return {
      reason,
      circuit,
      waits: !this.gate.refuses(this.call, refusal) && hasRoom(this.gate.settings.store),
      millis: refusal.retryAfter ?? 0
    }
  }
}

const ignored = { verdict: "ignored" } as const

/** On the spot where the first is. */
const then = <A, B, E, E2>(
  first: Effect.Effect<A, E>,
  next: (a: A) => Effect.Effect<B, E2>
): Effect.Effect<B, E | E2> => {
  const exit = onTheSpot(first)
  return exit !== undefined && Exit.isSuccess(exit) ? next(exit.value) : Effect.flatMap(first, next)
}
