/**
 * Starts a second provider when the first is slow to begin, and takes whoever answers first.
 *
 * The loser is interrupted and billed like any abandoned call. A hedge never waits at a limiter and is never retried: where
 * it would have to, it is simply not made. Few calls are hedged, so that slowness does not double the load.
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Attempts from "./Attempts.ts"
import { Allowance } from "./internal/allowance.ts"
import { beforeFirstPart, type Discard } from "./internal/beforeFirstPart.ts"
import { between, integer, positiveMillis } from "./internal/options.ts"
import { Quantile } from "./internal/quantile.ts"
import type { Race, RaceLost } from "./internal/race.ts"
import type { LlmError } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"

export interface Options {
  /**
   * How long the first provider has until its first visible part (its whole answer, where it does not stream). Default: its
   * own 95th percentile once 20 answers are known, 2 seconds until then.
   */
  readonly delay?: Duration.Input | undefined
  /** The share of calls that may be hedged. Default 0.05. */
  readonly ratio?: number | undefined
  /** Hedges that are always allowed in each 10 seconds, whatever the share. Default 1. */
  readonly floor?: number | undefined
}

/** The first of the providers, hedged with the second; both answers failing, the last failure of one that was called. */
export const make =
  (options: Options = {}) =>
  (providers: readonly [LlmProvider.Service, LlmProvider.Service]): LlmProvider.Service => {
    const [first, second] = providers
    const hedge = race(options)
    return beforeFirstPart(first, (attempt, discard) =>
      Effect.mapError(hedge(attempt(first), attempt(second), discard), ({ backup, primary }) => backup ?? primary)
    )
  }

/** Hedges the provider of a layer with that of another one. */
export const withHedge = <E2, R2>(backup: Layer.Layer<LlmProvider.LlmProvider, E2, R2>, options?: Options) => {
  const hedged = make(options)
  return LlmProvider.transform((first) => Effect.map(LlmProvider.build(backup), (second) => hedged([first, second])))
}

/** What a hedge does with two attempts, with its own memory of latencies and its own share of calls. */
export const race = (options: Options = {}): Race => {
  const fixed = options.delay === undefined ? undefined : positiveMillis("Hedge.make: delay", options.delay)
  const ratio = between("Hedge.make: ratio", options.ratio ?? 0.05, 0, 1)
  const floor = integer("Hedge.make: floor", options.floor ?? 1, 0)
  const allowance = new Allowance({ ratio, floor, perMillis: 10_000 })
  const latencies = new Quantile(0.95)
  return (primary, backup, discard) =>
    Effect.suspend(() => {
      allowance.deposit()
      const delay = fixed ?? latencies.value ?? 2000
      return new Hedging(delay, allowance, latencies, discard).run(primary, backup)
    })
}

/** A side of the race: its fiber, and the mark by which its gates see that it lost. */
interface Side<A> {
  readonly mark: { lost: boolean }
  readonly fiber: Fiber.Fiber<A, LlmError>
}

class Hedging<A> {
  private readonly sides: Array<Side<A>> = []
  private readonly delay: number
  private readonly allowance: Allowance
  private readonly latencies: Quantile
  private readonly discard: Discard<A>

  constructor(delay: number, allowance: Allowance, latencies: Quantile, discard: Discard<A>) {
    this.delay = delay
    this.allowance = allowance
    this.latencies = latencies
    this.discard = discard
  }

  run(primary: Effect.Effect<A, LlmError>, backup: Effect.Effect<A, LlmError>): Effect.Effect<A, RaceLost> {
    const body = Effect.flatMap(this.start(this.timed(primary), true), (first) =>
      Effect.flatMap(Effect.timeoutOption(Fiber.await(first.fiber), this.delay), (early) =>
        early._tag === "Some" ? this.alone(first, early.value) : this.hedged(first, backup)
      )
    )
    return Effect.onExit(body, (exit) => this.leave(exit))
  }

  /** The first is slow: the second starts if it may, and whoever answers first is taken. */
  private hedged(first: Side<A>, backup: Effect.Effect<A, LlmError>): Effect.Effect<A, RaceLost> {
    return Effect.withFiber((fiber) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      if (!this.allowance.take(now) || !Attempts.take(fiber)) {
        return Effect.flatMap(Fiber.await(first.fiber), (exit) => this.alone(first, exit))
      }
      return Effect.flatMap(this.start(backup, false), (second) => {
        const either = Effect.raceFirst(
          Effect.map(Fiber.await(first.fiber), (exit) => ({ exit, of: first, other: second })),
          Effect.map(Fiber.await(second.fiber), (exit) => ({ exit, of: second, other: first }))
        )
        return Effect.flatMap(either, ({ exit, of, other }) =>
          Exit.isSuccess(exit) ? this.won(of, exit.value) : this.left(other, first, second)
        )
      })
    })
  }

  /** One of the two failed: the other decides. */
  private left(side: Side<A>, first: Side<A>, second: Side<A>): Effect.Effect<A, RaceLost> {
    return Effect.flatMap(Fiber.await(side.fiber), (exit) => {
      if (Exit.isSuccess(exit)) return this.won(side, exit.value)
      return Effect.flatMap(Effect.all([errorOf(first.fiber), errorOf(second.fiber)]), ([primary, backup]) =>
        Effect.fail({ primary, backup: backup.phase === "refused" ? undefined : backup })
      )
    })
  }

  private won(side: Side<A>, answer: A): Effect.Effect<A> {
    this.sides.splice(this.sides.indexOf(side), 1)
    return Effect.succeed(answer)
  }

  private start(attempt: Effect.Effect<A, LlmError>, mayWait: boolean): Effect.Effect<Side<A>> {
    return Effect.uninterruptibleMask((restore) => {
      const mark = { lost: false }
      const marked = Effect.provideService(restore(attempt), Attempts.Race, mark)
      const patient = mayWait ? marked : Effect.provideService(marked, Attempts.MayWait, false)
      return Effect.map(Effect.forkChild(patient, { startImmediately: true }), (fiber) => {
        const side = { mark, fiber }
        this.sides.push(side)
        return side
      })
    })
  }

  /** Without a hedge, what happened to the first is what happened. */
  private alone(side: Side<A>, exit: Exit.Exit<A, LlmError>): Effect.Effect<A, RaceLost> {
    if (Exit.isSuccess(exit)) return this.won(side, exit.value)
    return Effect.mapError(exit, (primary) => ({ primary, backup: undefined }))
  }

  /** Ends whoever still runs and throws away an answer that came too late; an answer that won does not wait for it. */
  private leave(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const won = Exit.isSuccess(exit)
    const ended = Effect.forEach(
      this.sides,
      (side) => {
        side.mark.lost = won
        return Effect.andThen(
          Fiber.interrupt(side.fiber),
          Effect.flatMap(Fiber.await(side.fiber), (late) =>
            Exit.isSuccess(late) ? this.discard(late.value) : Effect.void
          )
        )
      },
      { discard: true }
    )
    return won && this.sides.length > 0 ? Effect.asVoid(Effect.forkDetach(ended, { startImmediately: true })) : ended
  }

  private timed(primary: Effect.Effect<A, LlmError>): Effect.Effect<A, LlmError> {
    return Effect.flatMap(Clock.currentTimeMillis, (began) =>
      Effect.tap(primary, () =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          this.latencies.add(now - began)
        })
      )
    )
  }
}

const errorOf = <A>(fiber: Fiber.Fiber<A, LlmError>): Effect.Effect<LlmError> =>
  Effect.flatMap(Fiber.await(fiber), (exit) => Effect.orDie(Effect.flip(exit)))
