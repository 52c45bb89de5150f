/** One attempt: who makes it, what it holds, and how far it came. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Attempts from "../Attempts.ts"
import * as Caller from "../Caller.ts"
import * as Deadline from "../Deadline.ts"
import type { Call, Permit, Settlement } from "../Gate.ts"
import { type LlmError, type Reason, refuse } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { Step } from "./admission.ts"
import { ending, type Watch } from "./ending.ts"
import { onTheSpot } from "./onTheSpot.ts"

interface Held extends Pick<Permit, "settle"> {
  /** The gate's, for the log. */
  readonly name: string
}

export class Running implements Call {
  readonly provider: Service
  readonly request: LlmRequest
  readonly permits: Array<Held> = []
  caller: Caller.Identity = {}
  startedAt = 0
  deadline = Infinity
  mayWait = true
  private fiber: Fiber.Fiber<unknown, unknown> | undefined
  private clock: Clock.Clock | undefined
  private calledAt: number | undefined

  constructor(provider: Service, request: LlmRequest) {
    this.provider = provider
    this.request = request
  }

  open(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.fiber = fiber
    this.clock = fiber.getRef(Clock.Clock)
    this.caller = fiber.getRef(Caller.Caller)
    this.deadline = fiber.getRef(Deadline.Deadline)
    this.mayWait = fiber.getRef(Attempts.MayWait)
    this.startedAt = this.now()
  }

  now(): number {
    return this.clock?.currentTimeMillisUnsafe() ?? 0
  }

  /** A name for a reservation that no other process gives. */
  lease(): string {
    const random = this.fiber?.getRef(Random.Random)
    return `${random?.nextIntUnsafe().toString(36)}.${random?.nextIntUnsafe().toString(36)}`
  }

  /** Takes the steps from one on, then makes the call. */
  admit<A, R>(
    steps: ReadonlyArray<Step>,
    from: number,
    call: () => Effect.Effect<A, LlmError, R>
  ): Effect.Effect<A, LlmError, R> {
    for (let i = from; i < steps.length; i++) {
      const pending = steps[i]?.(this)
      if (pending === undefined) continue
      return Effect.flatMap(this.refusing(pending), () => this.admit(steps, i + 1, call))
    }
    this.calledAt = this.now()
    return call()
  }

  private refusing(pending: Effect.Effect<void, Reason>): Effect.Effect<void, LlmError> {
    const { model, provider } = this.provider
    return Effect.mapError(pending, (reason) => refuse(provider, model, reason))
  }

  /** Gives back what was taken since `base`, before a wait. */
  giveBack(base: number): Effect.Effect<void> {
    const permits = this.permits.splice(base)
    return permits.length === 0 ? Effect.void : settleAll(permits, this.settlement(undefined, undefined))
  }

  /** Settles what is held, once: what was settled is no longer held. */
  settle(exit: Exit.Exit<unknown, LlmError> | undefined, watch?: Watch): Effect.Effect<void> {
    const permits = this.permits.splice(0)
    return permits.length === 0 ? Effect.void : settleAll(permits, this.settlement(exit, watch))
  }

  private settlement(exit: Exit.Exit<unknown, LlmError> | undefined, watch: Watch | undefined): Settlement {
    const { calledAt } = this
    const firstPartAt = watch?.firstPartAt
    return {
      ...ending(exit, watch, calledAt !== undefined),
      latency: calledAt === undefined ? 0 : (watch?.endedAt ?? this.now()) - calledAt,
      firstPart: calledAt === undefined || firstPartAt === undefined ? undefined : firstPartAt - calledAt,
      lostRace: this.fiber?.getRef(Attempts.Race)?.lost === true
    }
  }
}

/** In reverse, each of them whatever the others do; the call does not fail because a settle does. */
const settleAll = (permits: ReadonlyArray<Held>, settlement: Settlement): Effect.Effect<void> => {
  for (let i = permits.length - 1; i >= 0; i--) {
    const permit = permits[i]
    const pending = permit && settleOne(permit, settlement)
    if (pending === undefined) continue
    const rest = permits.slice(0, i)
    return Effect.uninterruptible(Effect.flatMap(pending, () => settleAll(rest, settlement)))
  }
  return Effect.void
}

/** `undefined` when it was done on the spot. */
const settleOne = (permit: Held, settlement: Settlement): Effect.Effect<void> | undefined => {
  const logged = (cause: unknown) =>
    Effect.logWarning(`gate ${permit.name} could not be settled`).pipe(Effect.annotateLogs("cause", String(cause)))
  try {
    const settled = permit.settle(settlement)
    const exit = onTheSpot(settled)
    return exit !== undefined && Exit.isSuccess(exit) ? undefined : Effect.catchCause(settled, logged)
  } catch (defect) {
    return logged(defect)
  }
}
