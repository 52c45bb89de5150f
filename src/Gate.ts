/**
 * The shape of everything that is taken before a call and given back after it: circuit breakers, budgets, limiters.
 *
 * `through` is the one place that could leak a permit. It settles every permit exactly once, in reverse order, whatever
 * happens: success, failure, defect, interruption while waiting or in flight, a stream that ends, breaks, is cut off or is
 * dropped by its reader. A waiter holds nothing, or only what will be settled.
 */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Attempts from "./Attempts.ts"
import type * as Caller from "./Caller.ts"
import { type Step, stepsOf } from "./internal/admission.ts"
import { draining, sending } from "./internal/draining.ts"
import { judge, Watch } from "./internal/ending.ts"
import { told } from "./internal/toldAttempt.ts"
import { Running } from "./internal/running.ts"
import type * as Ledger from "./Ledger.ts"
import type { LlmError, Phase, Reason } from "./LlmError.ts"
import type { Service } from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import type { LlmPart, Usage } from "./LlmResponse.ts"
import type * as QuotaStore from "./QuotaStore.ts"
import type * as Receipt from "./Receipt.ts"

/** What a call must pass: a gate that decides by itself, or one that says what it wants of a quota store. */
export type Gate = Admitting | Reserving

/** Decides at once whether a call may go. */
export interface Admitting {
  readonly _tag: "Admitting"
  readonly name: string
  /**
   * Read only and without waiting. A gate that has it is peeked before anything is taken and admits after every other
   * gate, so that it fails fast twice: what opened while others waited is seen.
   */
  readonly peek?: ((call: Call) => Effect.Effect<void, Reason>) | undefined
  /**
   * Runs uninterruptibly and must be short. What it takes it takes in the effect; or on the spot, and then it answers with
   * an `Exit`: an interruption would lose what was taken before an effect runs.
   */
  readonly admit: (call: Call) => Effect.Effect<Permit, Reason>
}

/** What an admitted call holds. */
export interface Permit {
  /** A wait before the call: interruptible, when the permit is already ours. Not run where `call.mayWait` is false. */
  readonly ready?: Effect.Effect<void, Reason> | undefined
  /** Once, when the attempt is over, uninterruptibly and for a second at most; a defect of it is logged. */
  readonly settle: (settlement: Settlement) => Effect.Effect<void>
}

/** Says what it wants of a quota store; neighbours on the same store are reserved and settled as one. */
export interface Reserving {
  readonly _tag: "Reserving"
  readonly name: string
  readonly store: Pick<QuotaStore.Service, "reserve" | "settle">
  /**
   * Milliseconds for which a call that was sent goes on when its caller has left, so that what it used is told. The longest
   * of all gates counts. Default: it is interrupted.
   */
  readonly drainFor?: number | undefined
  /** Asked once for each attempt, before it takes anything of the store. */
  readonly claim: (call: Call) => Claim
}

/** What one attempt wants of a quota store, and what becomes of it. */
export interface Claim {
  /** Read each time before the store is asked: what was right before a wait need not be so behind it. */
  readonly entries: ReadonlyArray<QuotaStore.Entry>
  /** Before the store is asked: a place in a local queue. Interruptible, must end by itself. */
  readonly turn?: Effect.Effect<void, Reason> | undefined
  /**
   * One of its entries was denied: fails, or waits and succeeds to ask again. Interruptible, holds nothing; must fail at
   * once where `call.mayWait` is false, and after a bounded time in any case.
   */
  readonly denied: (denied: QuotaStore.Denied) => Effect.Effect<void, Reason>
  /** `now` is the time of the store's clock. */
  readonly granted?: ((remaining: ReadonlyArray<number>, now: number) => void) | undefined
  /** What was really used, entry by entry. */
  readonly actual: (settlement: Settlement) => ReadonlyArray<number>
  /** How it is charged, where entries are of money; asked behind `actual`. `undefined` where there is nothing to say. */
  readonly charge?: ((settlement: Settlement) => Ledger.Charge | undefined) | undefined
  /** At the end of every attempt that made this claim, granted or not, behind the store's own settle; must be short. */
  readonly over?: ((settlement: Settlement) => Effect.Effect<void> | undefined) | undefined
}

/** One attempt as its gates see it. */
export interface Call {
  readonly request: LlmRequest
  readonly provider: Service
  readonly caller: Caller.Identity
  /** Milliseconds of the clock when admission began, and by when the call must be over. */
  readonly startedAt: number
  readonly deadline: number
  /** False for a hedge: it is refused where it would have to wait. */
  readonly mayWait: boolean
  /** A name that no other process gives. */
  readonly unique: () => string
  /** What all attempts of one call have in common; `undefined` outside of a policy that opens it. */
  readonly attempts: Attempts.Ledger | undefined
  /** For what the call's receipt is to say of it. */
  readonly note?: Receipt.Note | undefined
}

/** How an attempt ended. */
export interface Settlement {
  /**
   * `truncated`: ended without a finish part or without an answer. `abandoned`: interrupted, or dropped by its reader
   * before the finish part. `refused`: the provider was not called.
   */
  readonly outcome: "success" | "failure" | "truncated" | "abandoned" | "refused"
  readonly phase: Phase
  readonly error: LlmError | undefined
  readonly usage: Usage | undefined
  /**
   * All that came of texts, reasoning and arguments of tools, for who counts it. A function, so that no answer gets into a
   * log by way of the settlement.
   */
  readonly output: () => string
  /** Rate-limit headers of the answer, where the provider exposes them. */
  readonly headers: Readonly<Record<string, unknown>> | undefined
  /** Milliseconds from the provider's start; waiting at gates is not in it. Zero where the call was refused. */
  readonly latency: number
  /** Milliseconds until the first visible part; `undefined` when there was none. */
  readonly firstPart: number | undefined
  /** The attempt was a hedge race's loser: not a failure, but it may have been slow. */
  readonly lostRace: boolean
}

/**
 * Puts gates before a provider. The provider's own endings are judged here too: an empty answer, a stream without a finish
 * part and an in-band error become failures.
 */
export const through =
  (gates: ReadonlyArray<Gate>) =>
  (provider: Service): Service => {
    const drainFor = Math.max(0, ...gates.map((gate) => (gate._tag === "Reserving" ? (gate.drainFor ?? 0) : 0)))
    return drainFor === 0 ? gated(gates, provider) : draining(gated(gates, sending(provider)), drainFor)
  }

const gated = (gates: ReadonlyArray<Gate>, inner: Service): Service => {
  const steps = stepsOf(gates)
  const judged = (request: LlmRequest) => Effect.flatMap(inner.generate(request), (answer) => judge(inner, answer))
  const traced = (request: LlmRequest, span: Tracer.Span | undefined) =>
    span === undefined ? judged(request) : Effect.provideService(judged(request), Tracer.ParentSpan, span)
  const settled = (request: LlmRequest) =>
    Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
      const running = new Running(inner, request, fiber)
      // the finalizer first and admission inside of it: the other way round a yield between them would leak
      return Effect.onExitPrimitive(
        Effect.suspend(() => running.admit(steps, 0, (span) => traced(request, span))),
        (exit) => running.settled(exit)
      )
    })
  return {
    ...inner,
    generate: (request) => {
      if (gates.length > 0) return settled(request)
      return Effect.withFiber((fiber) => {
        const receipt = Attempts.receiptOf(fiber)
        if (receipt === undefined) return judged(request)
        return receipt.listener?.began === undefined ? told(fiber, inner, request, receipt) : settled(request)
      })
    },
    stream: (request) =>
      Stream.fromChannel(
        Channel.fromTransformBracket((_upstream, _outer, scope) =>
          Effect.sync(() => opening(inner, request, steps, scope))
        )
      )
  }
}

type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** Admission happens at the first pull, and once: a stream that nobody reads takes nothing. */
const opening = (
  inner: Service,
  request: LlmRequest,
  steps: ReadonlyArray<Step>,
  scope: Scope.Scope
): Pull.Pull<Parts, LlmError> => {
  let pull: Pull.Pull<Parts, LlmError> | undefined
  const opened = Effect.withFiber((fiber) => {
    const running = new Running(inner, request, fiber)
    const watch = new Watch(inner, () => running.now())
    const settle = Effect.suspend(() => {
      // in a scope that is closed already this runs at once, and nothing may be taken behind it
      pull ??= Effect.interrupt
      return running.settle(watch.exit, watch)
    })
    const admitted = Effect.onError(
      Effect.suspend(() =>
        running.admit(steps, 0, (span) => {
          const stream = inner.stream(request)
          const traced = span === undefined ? stream : Stream.provideService(stream, Tracer.ParentSpan, span)
          return Channel.toPullScoped(traced.channel, scope)
        })
      ),
      (cause) => Effect.sync(() => (pull = watch.ended(cause)))
    )
    // the settle is added before the provider's own finalizers, so that these run first
    const added = Scope.addFinalizer(scope, settle)
    return Effect.flatMap(added, () => pull ?? Effect.flatMap(admitted, (parts) => (pull = watch.over(parts))))
  })
  return Effect.suspend(() => pull ?? opened)
}
