/** How a call ends that many wait for: in time, and with a failure that concerns all of them or only the first. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Attempts from "../Attempts.ts"
import * as Deadline from "../Deadline.ts"
import { LlmError, TimedOut } from "../LlmError.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { Open as Receipt } from "../Receipt.ts"
import { endAt } from "./timer.ts"

/** Milliseconds behind its deadline, after which it is ended from outside. */
const grace = 1000

/** What is inside sees the deadline first: this is for a provider that nothing else ends. Times in milliseconds. */
export const bounded = <A>(
  { model, provider }: Provider,
  startedAt: number,
  total: number,
  call: Effect.Effect<A, LlmError>
): Effect.Effect<A, LlmError> => {
  const late = () => {
    const reason = new TimedOut({ phase: "total", after: Duration.millis(total) })
    return new LlmError({ provider, model, reason, phase: "sent" })
  }
  return Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => endAt(fiber, startedAt + total + grace, call, late))
}

/** The caller's context, with a deadline and a ledger of its own. */
export const contextOf = (
  caller: Fiber.Fiber<unknown, unknown>,
  deadline: number,
  receipt: Receipt | undefined
): Context.Context<never> =>
  caller.context.pipe(
    Context.add(Deadline.Deadline, deadline),
    Context.add(Attempts.Current, Attempts.make(caller.getRef(Attempts.Current)?.max ?? Attempts.defaultMax, receipt)),
    Context.add(Attempts.MayWait, true),
    Context.add(Attempts.Race, undefined)
  )

/** Refusals that only concern the one who called: who waited beside him asks again. */
export const isPersonal = ({ reason }: LlmError): boolean =>
  reason._tag === "BudgetExceeded" ||
  reason._tag === "RateLimitExceeded" ||
  reason._tag === "InputRejected" ||
  (reason._tag === "TimedOut" && reason.phase === "total")
