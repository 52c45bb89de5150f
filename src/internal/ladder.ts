/** How a ladder is climbed down: which rung comes after a failure, and how long each may take. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Predicate from "effect/Predicate"
import * as AiError from "effect/ai/AiError"
import * as Deadline from "../Deadline.ts"
import type { Answer, Failure, Otherwise, Rung } from "../Degrade.ts"
import * as LlmError from "../LlmError.ts"
import * as Metrics from "../Metrics.ts"
import { Series } from "./telemetrySeries.ts"

type AnyRung = Rung<string, unknown, unknown, unknown>

export type Step = AnyRung | Otherwise<string, unknown>

interface Climb {
  readonly deadline: number
  readonly grace: number
  readonly current: Step
  readonly below: ReadonlyArray<Step>
  readonly failures: ReadonlyArray<Failure<string, unknown>>
  /** Whether rungs that ask a model may still run. */
  readonly mayAsk: boolean
}

export const climb = (self: Climb): Effect.Effect<Answer<string, unknown, unknown>, unknown, unknown> => {
  const { current, failures } = self
  const answered = (value: unknown) => {
    const answer = { rung: current.name, value, failures }
    return failures.length === 0 ? Effect.succeed(answer) : Effect.as(counted(current.name), answer)
  }
  if (current._tag === "Otherwise") return Effect.suspend(() => answered(current.answer(failures)))
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const end = endOf(self, current, now)
    return Effect.matchEffect(until(current, now, end), {
      onSuccess: answered,
      onFailure: (error) => stepDown(self, end, error)
    })
  })
}

/** That a lesser rung stood in. */
const counted = (rung: string): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    new Series(fiber.getRef(Metric.MetricRegistry)).count(Metrics.degraded(rung)).value++
    return Effect.void
  })

const stepDown = (self: Climb, end: number, error: unknown) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { below, current, failures } = self
    const degrade = degradeOf(error, now >= end && now < self.deadline)
    const mayAsk = self.mayAsk && degrade === "yes"
    const at = below.findIndex(
      (step) => step._tag === "Otherwise" || (degrade !== "no" && (mayAsk || step.asks === "nothing"))
    )
    const next = below[at]
    if (next === undefined) return Effect.fail(error)
    return Effect.andThen(
      logStep(current.name, next.name, error),
      climb({
        ...self,
        current: next,
        below: below.slice(at + 1),
        failures: [...failures, { rung: current.name, error }],
        mayAsk
      })
    )
  })

/** The instant at which a rung is ended by the clock. */
const endOf = (self: Climb, rung: AnyRung, now: number): number => {
  if (rung.asks === "nothing") return now + self.grace
  if (self.deadline === Infinity || self.below.length === 0) return self.deadline
  return now + Math.floor(((self.deadline - now) * 4) / 5)
}

const until = (rung: AnyRung, now: number, end: number): Effect.Effect<unknown, unknown, unknown> => {
  if (end === Infinity) return rung.program
  const millis = Math.max(0, end - now)
  const timedOut = (phase: LlmError.Phase) =>
    Effect.suspend(() => {
      const reason = new LlmError.TimedOut({ phase: "total", after: Duration.millis(millis) })
      return Effect.fail(new LlmError.LlmError({ provider: "ballast", model: rung.name, reason, phase }))
    })
  if (millis === 0) return timedOut("refused")
  return Effect.timeoutOrElse(Effect.provideService(rung.program, Deadline.Deadline, end), {
    duration: millis,
    orElse: () => timedOut(rung.asks === "model" ? "sent" : "refused")
  })
}

/** Which rungs a failure leaves. `cut`: the rung's share of the time is over, but not the ladder's time. */
const degradeOf = (error: unknown, cut: boolean): LlmError.Consequence["degrade"] => {
  const known = AiError.isAiError(error) ? LlmError.fromAiError(error) : error
  if (!LlmError.isLlmError(known)) return "yes"
  const { reason } = known
  return cut && reason._tag === "TimedOut" && reason.phase === "total" ? "yes" : LlmError.consequence(known).degrade
}

/** One line for each step down, wherever it is taken. */
export const logStep = (from: string, to: string, error: unknown) =>
  Effect.annotateLogs(Effect.logWarning("Degraded"), { from, to, reason: tagOf(error) })

/** The tag of an error or of its reason: never a message, which could hold content. */
const tagOf = (error: unknown): string => {
  const tagged =
    Predicate.hasProperty(error, "reason") && Predicate.hasProperty(error.reason, "_tag") ? error.reason : error
  if (Predicate.hasProperty(tagged, "_tag") && typeof tagged._tag === "string") return tagged._tag
  return error instanceof Error ? error.name : typeof error
}
