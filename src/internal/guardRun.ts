/** Runs a guard's check: in bounded time, with its fail mode, and with a word to whoever watches. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Attempts from "../Attempts.ts"
import { Deadline } from "../Deadline.ts"
import type { Checked, Guard } from "../Guard.ts"
import { LlmError, type Phase, TimedOut } from "../LlmError.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import * as Metrics from "../Metrics.ts"
import { onTheSpot } from "./onTheSpot.ts"

export type Action = "flag" | "redact" | "truncate" | "repair" | "block" | "error"

/** What a guard did, without a word of the text. */
export interface Event {
  readonly guard: string
  readonly side: "input" | "output"
  /** `"error"`: its check failed, and `onError` decided. */
  readonly action: Action
  /** What it found: a kind of secret, a family of attacks. */
  readonly kind: string | undefined
  /** In `"shadow"` mode it was not done. */
  readonly mode: Guard["mode"]
}

export type OnEvent = (event: Event) => Effect.Effect<void>

/** Longest a listener may keep a call. */
const patience = Duration.seconds(1)

/** Whether the last check of a guard failed, so that an outage is one line in the log. */
const failing = new WeakSet<Guard>()

type Running = Fiber.Fiber<unknown, unknown>

export class Watcher {
  readonly side: Event["side"]
  private readonly onEvent: OnEvent | undefined

  constructor(side: Event["side"], onEvent: OnEvent | undefined) {
    this.side = side
    this.onEvent = onEvent
  }

  /** Counts it at once; the effect, if there is one, tells whoever listens. */
  told(fiber: Running, guard: Guard, action: Action, kinds: ReadonlyArray<string>): Effect.Effect<void> | undefined {
    const metric = guard.mode === "shadow" ? Metrics.guardrailShadow : Metrics.guardrail
    metric(guard.name, action).updateUnsafe(1, fiber.context)
    const { onEvent, side } = this
    const receipt = Attempts.receiptOf(fiber)
    if (receipt !== undefined)
      for (const kind of kinds.length === 0 ? [undefined] : kinds)
        receipt.found({ guard: guard.name, side, action, kind, mode: guard.mode })
    if (onEvent === undefined) return undefined
    const telling = (kinds.length === 0 ? [undefined] : kinds).map((kind) =>
      Effect.suspend(() => onEvent({ guard: guard.name, side, action, kind, mode: guard.mode }))
    )
    return Effect.ignoreCause(Effect.timeoutOption(Effect.all(telling, { discard: true }), patience))
  }

  /** What the check says; `undefined` where it failed and the call is to pass. Fails where it failed and is not. */
  checked<A>(
    fiber: Running,
    guard: Guard,
    provider: Provider,
    check: () => Checked<A>,
    rejected: (description: string) => LlmError,
    phase: Phase
  ): Effect.Effect<A | undefined, LlmError> {
    const failed = (why: string) => this.failed(fiber, guard, why, rejected)
    let answer: Checked<A>
    try {
      answer = check()
    } catch (cause) {
      return failed(nameOf(cause))
    }
    if (!Effect.isEffect(answer)) return Exit.succeed(answer)
    // an effect that is no answer itself is one of answers
    const effect = answer
    const now = onTheSpot(effect)
    if (now !== undefined && Exit.isSuccess(now)) return Exit.succeed(now.value)
    const startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const left = fiber.getRef(Deadline) - startedAt
    const isLast = left <= Duration.toMillis(guard.timeout)
    return Effect.matchCauseEffect(Effect.timeoutOption(effect, isLast ? Math.max(0, left) : guard.timeout), {
      onSuccess: (found): Effect.Effect<A | undefined, LlmError> => {
        if (found._tag === "Some") return this.succeeded(guard, found.value)
        return isLast ? Effect.fail(late(provider, left, phase)) : failed("no answer in time")
      },
      onFailure: (cause) => failed(nameOf(Cause.squash(cause)))
    })
  }

  private succeeded<A>(guard: Guard, answer: A): Effect.Effect<A> {
    if (!failing.delete(guard)) return Effect.succeed(answer)
    return Effect.as(Effect.logInfo(`Guard ${guard.name} checks again`), answer)
  }

  private failed(
    fiber: Running,
    guard: Guard,
    why: string,
    rejected: (description: string) => LlmError
  ): Effect.Effect<undefined, LlmError> {
    const told = this.told(fiber, guard, "error", []) ?? Effect.void
    const blocks = guard.onError === "block" && guard.mode === "enforce"
    const first = !failing.has(guard)
    failing.add(guard)
    const what = blocks ? "calls are refused" : "calls pass unchecked"
    const logged = first ? Effect.logWarning(`Guard ${guard.name} failed (${why}): ${what}`) : Effect.void
    const outcome = blocks ? Effect.fail(rejected(`its check failed (${why})`)) : Effect.succeed(undefined)
    return told.pipe(Effect.andThen(logged), Effect.andThen(outcome))
  }
}

/** The kind of an error: its message may tell what was checked. */
const nameOf = (cause: unknown): string => {
  if (typeof cause !== "object" || cause === null) return typeof cause
  if ("_tag" in cause && typeof cause._tag === "string") return cause._tag
  return cause instanceof Error ? cause.name : "an object"
}

const late = ({ model, provider }: Provider, left: number, phase: Phase): LlmError => {
  const after = Duration.millis(Math.max(0, left))
  return new LlmError({ provider, model, reason: new TimedOut({ phase: "total", after }), phase })
}
