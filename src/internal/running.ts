/** One attempt: who makes it, what it holds, and how far it came. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Tracer from "effect/Tracer"
import * as Attempts from "../Attempts.ts"
import * as Caller from "../Caller.ts"
import * as Deadline from "../Deadline.ts"
import type { Call, Settlement } from "../Gate.ts"
import { type LlmError, type Reason, refuse, TimedOut } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { LlmResponse } from "../LlmResponse.ts"
import type * as Receipt from "../Receipt.ts"
import type { Step } from "./admission.ts"
import { ending, type Watch } from "./ending.ts"
import { countOf } from "./fields.ts"
import { onTheSpot } from "./onTheSpot.ts"

interface Held {
  /** The gate's, for the log. */
  readonly name: string
  readonly settle: (settlement: Settlement) => Effect.Effect<void, unknown>
}

/** To make a random name costs more than to count on from one. */
const naming = new WeakMap<object, { readonly prefix: string; count: number }>()

export class Running implements Call {
  readonly provider: Service
  readonly request: LlmRequest
  readonly caller: Caller.Identity
  readonly startedAt: number
  readonly deadline: number
  readonly mayWait: boolean
  readonly attempts: Attempts.Ledger | undefined
  readonly permits: Array<Held> = []
  private readonly clock: Clock.Clock
  /** The fiber's when the attempt began: a stream may be left by another one, when the first has ended. */
  private readonly context: Context.Context<never>
  private calledAt: number | undefined
  readonly note: Receipt.Note = {}
  private readonly receipt: Receipt.Open | undefined
  private span: Tracer.Span | undefined

  constructor(provider: Service, request: LlmRequest, fiber: Fiber.Fiber<unknown, unknown>) {
    this.provider = provider
    this.request = request
    this.context = fiber.context
    this.clock = fiber.getRef(Clock.Clock)
    this.caller = fiber.getRef(Caller.Caller)
    this.deadline = fiber.getRef(Deadline.Deadline)
    this.mayWait = fiber.getRef(Attempts.MayWait)
    this.attempts = fiber.getRef(Attempts.Current)
    this.receipt = this.attempts?.receipt
    this.startedAt = this.now()
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** The failure of a call whose deadline passed while it waited. */
  late(): Effect.Effect<never, Reason> | undefined {
    const now = this.now()
    if (now < this.deadline) return undefined
    return Effect.fail(new TimedOut({ phase: "total", after: Duration.millis(now - this.startedAt) }))
  }

  unique(): string {
    const random = Context.get(this.context, Random.Random)
    let names = naming.get(random)
    if (names === undefined) {
      const prefix = `${random.nextIntUnsafe().toString(36)}.${random.nextIntUnsafe().toString(36)}`
      naming.set(random, (names = { prefix, count: 0 }))
    }
    return `${names.prefix}.${names.count++}`
  }

  /** Takes the steps from one on, then makes the call. */
  admit<A, R>(
    steps: ReadonlyArray<Step>,
    from: number,
    call: (span: Tracer.Span | undefined) => Effect.Effect<A, LlmError, R>
  ): Effect.Effect<A, LlmError, R> {
    for (let i = from; i < steps.length; i++) {
      const pending = steps[i]?.(this)
      if (pending === undefined) continue
      const refused = this.refusedOnTheSpot(pending)
      if (refused !== undefined) return refused
      const inTime = Effect.flatMap(pending, () => this.late() ?? Effect.void)
      return Effect.flatMap(this.refusing(inTime), () => this.admit(steps, i + 1, call))
    }
    this.calledAt = steps.length === 0 ? this.startedAt : this.now()
    this.span = this.receipt?.listener?.began?.(this.provider, this.request)
    return call(this.span)
  }

  /** The same as `refusing`, without a step of the fiber. */
  private refusedOnTheSpot(pending: Effect.Effect<void, Reason>): Exit.Exit<never, LlmError> | undefined {
    const exit = onTheSpot(pending)
    if (exit === undefined || Exit.isSuccess(exit)) return undefined
    const [reason] = exit.cause.reasons
    if (exit.cause.reasons.length !== 1 || reason === undefined || !Cause.isFailReason(reason)) return undefined
    return Exit.fail(refuse(this.provider.provider, this.provider.model, reason.error))
  }

  private refusing(pending: Effect.Effect<void, Reason>): Effect.Effect<void, LlmError> {
    const { model, provider } = this.provider
    return Effect.mapError(pending, (reason) => refuse(provider, model, reason))
  }

  holdsSince(base: number): boolean {
    return this.permits.length > base
  }

  /** Gives back what was taken since `base`, before a wait; until it is, it is held. */
  giveBack(base: number): Effect.Effect<void> {
    if (this.permits.length === base) return Effect.void
    return Effect.uninterruptible(
      Effect.suspend(() => settleAll(this.permits.splice(base), this.settlement(undefined, undefined)))
    )
  }

  /** As `settle`; `undefined` where nothing is left to do, which costs no step of the fiber. */
  settled(exit: Exit.Exit<unknown, LlmError>): Effect.Effect<void> | undefined {
    const settling = this.settle(exit)
    return settling === Effect.void ? undefined : settling
  }

  /** Settles what is held, once: what was settled is no longer held. Only where nothing can interrupt it. */
  settle(exit: Exit.Exit<unknown, LlmError> | undefined, watch?: Watch): Effect.Effect<void> {
    if (this.permits.length === 0 && this.receipt === undefined) return Effect.void
    const settlement = this.settlement(exit, watch)
    const settled = this.permits.length === 0 ? Effect.void : settleAll(this.permits.splice(0), settlement)
    const { receipt } = this
    if (receipt === undefined) return settled
    const told = () => receipt.ended(this.attemptOf(settlement), this.details(exit, watch, settlement))
    if (onTheSpot(settled) === undefined) return Effect.andThen(settled, Effect.sync(told))
    told()
    return settled
  }

  private attemptOf({ error, firstPart, latency, lostRace, outcome, usage }: Settlement): Receipt.Attempt {
    const { calledAt, note, provider, startedAt } = this
    return {
      provider: provider.provider,
      model: provider.model,
      startedAt,
      waited: (calledAt ?? this.now()) - startedAt,
      latency,
      firstPart,
      outcome,
      reason: error?.reason._tag,
      inputTokens: note.tokens?.input ?? countOf(usage?.inputTokens.total),
      outputTokens: note.tokens?.output ?? countOf(usage?.outputTokens.total),
      cost: note.cost,
      reserved: note.reserved,
      lostRace
    }
  }

  private details(
    exit: Exit.Exit<unknown, LlmError> | undefined,
    watch: Watch | undefined,
    { error, usage }: Settlement
  ): Receipt.Details | undefined {
    if (this.span === undefined) return undefined
    const answer =
      exit !== undefined && Exit.isSuccess(exit) && exit.value instanceof LlmResponse ? exit.value : undefined
    return {
      span: this.span,
      usage,
      finish: watch?.finish ?? answer?.finish,
      metadata: watch?.metadata ?? answer?.parts.find((part) => part.type === "response-metadata"),
      error
    }
  }

  private settlement(exit: Exit.Exit<unknown, LlmError> | undefined, watch: Watch | undefined): Settlement {
    const end = ending(exit, watch, this.calledAt !== undefined)
    const since = end.phase === "refused" ? undefined : this.calledAt
    const firstPartAt = watch?.firstPartAt
    return {
      ...end,
      latency: since === undefined ? 0 : (watch?.endedAt ?? this.now()) - since,
      firstPart: since === undefined || firstPartAt === undefined ? undefined : firstPartAt - since,
      lostRace: Context.get(this.context, Attempts.Race)?.lost === true
    }
  }
}

/** In reverse, each of them whatever the others do; the call does not fail because a settle does. */
const settleAll = (permits: Array<Held>, settlement: Settlement): Effect.Effect<void> => {
  for (let permit = permits.pop(); permit !== undefined; permit = permits.pop()) {
    const pending = settleOne(permit, settlement)
    if (pending !== undefined) return Effect.flatMap(pending, () => settleAll(permits, settlement))
  }
  return Effect.void
}

/** A settle that hangs must not keep the call: stores give up much sooner. */
const settleWithin = Duration.seconds(1)

/** `undefined` when it was done on the spot. */
const settleOne = (permit: Held, settlement: Settlement): Effect.Effect<void> | undefined => {
  try {
    const settled = permit.settle(settlement)
    const exit = onTheSpot(settled)
    if (exit !== undefined && Exit.isSuccess(exit)) return undefined
    return Effect.catchCause(Effect.timeout(settled, settleWithin), (cause) => unsettled(permit, cause))
  } catch (defect) {
    return unsettled(permit, defect)
  }
}

const unsettled = (permit: Held, cause: unknown): Effect.Effect<void> =>
  Effect.logWarning(`gate ${permit.name} could not be settled`).pipe(Effect.annotateLogs("cause", String(cause)))
