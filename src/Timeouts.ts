/**
 * Bounds every wait for a model: the whole call, one attempt, the first part of a stream and the pauses between parts.
 *
 * What runs out of time fails with `TimedOut`, it is never interrupted from the program's point of view; the provider's
 * side is interrupted, and waited for. Only the time in which a part is asked for counts against the provider: a slow
 * consumer of a stream is not a slow provider.
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Attempts from "./Attempts.ts"
import { Deadline } from "./Deadline.ts"
import { positiveMillis } from "./internal/options.ts"
import * as timer from "./internal/timer.ts"
import { LlmError, type Phase, TimedOut } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { isVisible, type LlmPart } from "./LlmResponse.ts"
import * as Receipt from "./Receipt.ts"

/** Times above zero; `Duration.infinity` switches one off. */
export interface Options {
  /** The whole call: retries, fallbacks and waiting included. Default 10 minutes. */
  readonly total?: Duration.Input | undefined
  /** One attempt at one provider. Default 5 minutes. */
  readonly attempt?: Duration.Input | undefined
  /**
   * Until the first part of a stream that says something. Default 60 seconds, or 180 where `reasoningEffort` asks for
   * thinking, and one more for every 4,000 tokens of text asked about (a token taken for four characters).
   */
  readonly firstPart?: Duration.Input | undefined
  /** Between the parts of a stream after the first. Default 60 seconds. */
  readonly idle?: Duration.Input | undefined
  /** How long a stream waits for a consumer that asks for no more parts, before it is closed. Default 60 seconds. */
  readonly consumerIdle?: Duration.Input | undefined
  /** Which parts end `firstPart`: `"text"` does not count reasoning, for where it is not shown. Default `"visible"`. */
  readonly include?: "visible" | "text" | undefined
}

/** Ends an attempt that takes too long, or longer than the `Deadline` of its fiber. `total` has no part in it. */
export const make = (options: Options = {}): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const { attempt = "5 minutes", firstPart, idle = "1 minute" } = options
  const expected = firstPart === undefined ? undefined : positiveMillis("Timeouts.make: firstPart", firstPart)
  const limits: Limits = {
    attempt: positiveMillis("Timeouts.make: attempt", attempt),
    firstPart: (request) => expected ?? patience(request),
    idle: positiveMillis("Timeouts.make: idle", idle),
    begins: options.include === "text" ? (part) => part.type !== "reasoning-delta" && isVisible(part) : isVisible
  }
  return (inner) => ({
    ...inner,
    generate: (request) =>
      Effect.withFiber((fiber) => {
        const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
        const left = fiber.getRef(Deadline) - now
        if (left <= 0) return Effect.fail(timedOut(inner, "total", 0, "refused"))
        return timer.endAt(fiber, now + Math.min(left, limits.attempt), inner.generate(request), () =>
          left <= limits.attempt
            ? timedOut(inner, "total", left, "sent")
            : timedOut(inner, "attempt", limits.attempt, "sent")
        )
      }),
    stream: (request) => pulling((scope) => Effect.succeed(bounded(inner, request, limits, scope)))
  })
}

interface Limits {
  readonly attempt: number
  readonly firstPart: (request: LlmRequest) => number
  readonly idle: number
  /** Whether a part is the first part. */
  readonly begins: (part: LlmPart) => boolean
}

type Parts = Pull.Pull<Arr.NonEmptyReadonlyArray<LlmPart>, LlmError>

const patience = (request: LlmRequest): number => {
  const { prompt, reasoningEffort = "none" } = request
  let characters = 0
  for (const { content } of prompt.content) {
    if (typeof content === "string") characters += content.length
    else for (const part of content) if ("text" in part) characters += part.text.length
  }
  return (reasoningEffort === "none" ? 60_000 : 180_000) + Math.ceil(characters / 16)
}

/** `after` is how long what timed out had been running, not what it was allowed. */
const timedOut = (
  { model, provider }: LlmProvider.Service,
  phase: TimedOut["phase"],
  after: number,
  came: Phase
): LlmError =>
  new LlmError({ provider, model, reason: new TimedOut({ phase, after: Duration.millis(after) }), phase: came })

const pulling = (open: (scope: Scope.Scope) => Effect.Effect<Parts>): Stream.Stream<LlmPart, LlmError> =>
  Stream.fromChannel(Channel.fromTransform((_, scope) => open(scope)))

/** The parts of one attempt. Its times run down only while a part is asked for. */
const bounded = (inner: LlmProvider.Service, request: LlmRequest, limits: Limits, scope: Scope.Scope): Parts => {
  const firstPart = limits.firstPart(request)
  let clock: Clock.Clock
  let startedAt: number | undefined
  let askedAt = 0
  let deadline = Infinity
  let attemptLeft = limits.attempt
  let partLeft = firstPart
  let begun = false
  let came: Phase = "sent"

  const late = (): LlmError => {
    if (deadline - askedAt <= Math.min(attemptLeft, partLeft)) {
      return timedOut(inner, "total", deadline - (startedAt ?? deadline), came)
    }
    if (attemptLeft <= partLeft) return timedOut(inner, "attempt", limits.attempt, came)
    return begun ? timedOut(inner, "idle", limits.idle, came) : timedOut(inner, "firstPart", firstPart, came)
  }

  const arrived = (parts: Arr.NonEmptyReadonlyArray<LlmPart>) => {
    const waited = Math.max(0, clock.currentTimeMillisUnsafe() - askedAt)
    attemptLeft -= waited
    if (begun) return parts
    partLeft -= waited
    if (parts.some(isVisible)) came = "answered"
    if (parts.some(limits.begins)) {
      begun = true
      partLeft = limits.idle
    }
    return parts
  }

  let source: Parts = Effect.suspend(() =>
    Effect.flatMap(
      Channel.toPullScoped(inner.stream(request).channel, scope),
      (pull) => (source = Effect.map(pull, arrived))
    )
  )
  return Effect.withFiber((fiber) => {
    clock = fiber.getRef(Clock.Clock)
    askedAt = clock.currentTimeMillisUnsafe()
    deadline = fiber.getRef(Deadline)
    const left = Math.min(partLeft, attemptLeft, deadline - askedAt)
    if (left > 0) {
      startedAt ??= askedAt
      return timer.endAt(fiber, askedAt + left, source, late)
    }
    return Effect.fail(startedAt === undefined ? timedOut(inner, "total", 0, "refused") : late())
  })
}

/**
 * Gives the whole call a `Deadline` of `total` from its start, for all that waits inside to obey, and takes a stream away
 * from a consumer that has stopped asking: its resources are released then, and its next pull fails with `TimedOut`
 * (idle).
 */
export const deadline = (
  options: Options = {},
  /** Most attempts of any kind of one call, in the ledger that is opened with it. */
  maxAttempts = Attempts.defaultMax,
  /** Whether a receipt is opened with it, for who tells of calls inside. */
  keepsReceipt = false
): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const total = positiveMillis("Timeouts.deadline: total", options.total ?? "10 minutes")
  const consumerIdle = positiveMillis("Timeouts.deadline: consumerIdle", options.consumerIdle ?? "1 minute")
  return (inner) => ({
    ...inner,
    generate: (request) =>
      Effect.withFiber((fiber) =>
        Effect.updateContext(inner.generate(request), opened(fiber, { total, maxAttempts, keepsReceipt }))
      ),
    stream: (request) =>
      pulling((scope) => attended(inner, request, { total, consumerIdle, maxAttempts, keepsReceipt }, scope))
  })
}

interface Opening {
  readonly total: number
  readonly maxAttempts: number
  readonly keepsReceipt: boolean
}

/** All references of a call in one change of context, which is what costs; adding to it does not. */
const opened =
  (fiber: Fiber.Fiber<unknown, unknown>, { keepsReceipt, maxAttempts, total }: Opening) =>
  (context: Context.Context<never>): Context.Context<never> => {
    const clock = fiber.getRef(Clock.Clock)
    const now = clock.currentTimeMillisUnsafe()
    const bounded = Context.add(context, Deadline, Math.min(fiber.getRef(Deadline), now + total))
    const ledger = fiber.getRef(Attempts.Current)
    if (ledger === undefined) {
      const receipt = keepsReceipt ? new Receipt.Open(clock, now) : undefined
      return Context.add(bounded, Attempts.Current, Attempts.make(maxAttempts, receipt))
    }
    if (ledger.receipt === undefined && !keepsReceipt) return bounded
    // a stack within another one is an attempt of that one
    return Context.add(
      bounded,
      Attempts.Current,
      Attempts.withReceipt(ledger, Receipt.opened(clock, now, ledger.receipt))
    )
  }

/** The parts of a stream for as long as somebody asks for them. */
const attended = (
  inner: LlmProvider.Service,
  request: LlmRequest,
  limits: Opening & { readonly consumerIdle: number },
  scope: Scope.Scope
): Effect.Effect<Parts> => {
  const { consumerIdle } = limits
  const own = Scope.forkUnsafe(scope)
  let closing: Fiber.Fiber<void> | undefined
  let consumer: Fiber.Fiber<unknown, unknown>
  let context: Context.Context<never>
  let wheel: timer.Wheel | undefined
  const alarm = new timer.Alarm(() => {
    closing = Effect.runForkWith(context)(Scope.close(own, Exit.interrupt()))
  })
  let finished = false
  const arrived = (parts: Arr.NonEmptyReadonlyArray<LlmPart>) => {
    finished = parts.at(-1)?.type === "finish"
    context = consumer.context // of a fiber that has ended it would be empty
    wheel = timer.wheelOf(consumer)
    wheel.set(alarm, consumer.getRef(Clock.Clock).currentTimeMillisUnsafe() + consumerIdle, consumer)
    return parts
  }
  let source: Parts = Effect.withFiber((fiber) => {
    const stream = Stream.updateContext(inner.stream(request), opened(fiber, limits))
    return Effect.flatMap(Channel.toPullScoped(stream.channel, own), (pull) => (source = Effect.map(pull, arrived)))
  })
  const pull: Parts = Effect.withFiber((fiber) => {
    consumer = fiber
    wheel?.clear(alarm)
    if (closing === undefined) return source
    // a reader that lingers over a whole answer has lost nothing
    return finished ? Cause.done() : Effect.fail(timedOut(inner, "idle", consumerIdle, "answered"))
  })
  const leave = Effect.suspend(() => {
    wheel?.clear(alarm)
    return closing === undefined ? Effect.void : Fiber.join(closing)
  })
  return Effect.as(Scope.addFinalizer(scope, leave), pull)
}

/** Both bounds around a layer's provider: the attempt inside, the whole call outside. */
export const withTimeouts = (options: Options = {}) => {
  const inside = make(options)
  const outside = deadline(options)
  return LlmProvider.transform((inner) => outside(inside(inner)))
}
