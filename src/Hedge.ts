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
import { identity } from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Attempts from "./Attempts.ts"
import { Allowance } from "./internal/allowance.ts"
import { type Attempting, beforeFirstPart, type Branch } from "./internal/beforeFirstPart.ts"
import { goOnSigned } from "./internal/delivery.ts"
import { between, integer, positiveMillis } from "./internal/options.ts"
import { Quantile } from "./internal/quantile.ts"
import type { Race, RaceLost } from "./internal/race.ts"
import type { LlmError } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"

/** When a second provider is started, and how often at most. */
export interface Options {
  /**
   * How long the first provider has until its first visible part (its whole answer, where it does not stream). Default: its
   * own 95th percentile once 20 answers are known, 2 seconds until then.
   */
  readonly delay?: Duration.Input | undefined
  /** The share of calls that may be hedged, from 0 to 1, which is all of them. Default 0.05. */
  readonly ratio?: number | undefined
  /** Hedges that are always allowed in each 10 seconds, whatever the share. Default 1. */
  readonly floor?: number | undefined
}

/**
 * The first of the providers, hedged with the second; an answer says who gave it. It only helps against slowness: a first
 * one that fails while it is alone has failed (`Fallback` goes on). Both failing, the last failure of one that was called.
 */
export const make = (options: Options = {}) => {
  const hedge = race(options)
  return (providers: readonly [LlmProvider.Service, LlmProvider.Service]): LlmProvider.Service => {
    const [first, second] = providers
    const continuesAnswers = first.continuesAnswers === true && second.continuesAnswers === true
    return beforeFirstPart(
      { ...first, continuesAnswers },
      (attempting) => Effect.mapError(hedge(first, second, attempting), ({ backup, primary }) => backup ?? primary),
      goOnSigned
    )
  }
}

/** Hedges the provider of a layer with that of another one. */
export const withHedge = <E2, R2>(backup: Layer.Layer<LlmProvider.LlmProvider, E2, R2>, options?: Options) => {
  const hedged = make(options)
  return LlmProvider.transform((first) => Effect.map(LlmProvider.build(backup), (second) => hedged([first, second])))
}

/** What a hedge does with two providers, with its own memory of latencies and its own share of calls. */
export const race = (options: Options = {}): Race => {
  const fixed = options.delay === undefined ? undefined : positiveMillis("Hedge.make: delay", options.delay)
  const ratio = between("Hedge.make: ratio", options.ratio ?? 0.05, 0, 1)
  const floor = integer("Hedge.make: floor", options.floor ?? 1, 0)
  const allowance = ratio === 1 ? undefined : new Allowance({ ratio, floor, perMillis: 10_000 })
  const known = new WeakMap<LlmProvider.Service, Record<Attempting<unknown>["method"], Quantile>>()
  return (primary, backup, attempting) =>
    Effect.suspend(() => {
      allowance?.deposit()
      const latencies = known.get(primary) ?? { generate: new Quantile(0.95), stream: new Quantile(0.95) }
      known.set(primary, latencies)
      return new Hedging(fixed, allowance, latencies[attempting.method], attempting).run(primary, backup)
    })
}

/** A side of the race: its fiber, and the mark by which its gates see that it lost. */
interface Side<A> {
  readonly branch: Branch<A>
  readonly mark: { lost: boolean }
  readonly fiber: Fiber.Fiber<A, LlmError>
}

interface Answer<A> {
  readonly side: Side<A>
  readonly value: A
}

class Hedging<A> {
  private readonly sides: Array<Side<A>> = []
  private readonly delay: number
  private readonly allowance: Allowance | undefined
  private readonly latencies: Quantile
  private readonly attempting: Attempting<A>

  constructor(
    delay: number | undefined,
    allowance: Allowance | undefined,
    latencies: Quantile,
    attempting: Attempting<A>
  ) {
    this.delay = delay ?? latencies.value ?? 2000
    this.allowance = allowance
    this.latencies = latencies
    this.attempting = attempting
  }

  run(primary: LlmProvider.Service, backup: LlmProvider.Service): Effect.Effect<A, RaceLost> {
    const raced = Effect.withFiber<Answer<A>, RaceLost>((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const began = clock.currentTimeMillisUnsafe()
      return Effect.flatMap(this.start(primary), (first) =>
        Effect.map(this.decided(first, backup), (answer) => {
          // of a first that loses, only this much is known of its latency: left out, it would seem ever faster
          if (hasNotFailed(first)) this.latencies.add(clock.currentTimeMillisUnsafe() - began)
          return answer
        })
      )
    })
    const ended = Effect.onExit(raced, (exit) => this.leave(Exit.isSuccess(exit) ? exit.value.side : undefined))
    return Effect.map(ended, ({ value }) => value)
  }

  private start(
    provider: LlmProvider.Service,
    asHedge: (run: Effect.Effect<A, LlmError>) => Effect.Effect<A, LlmError> = identity
  ): Effect.Effect<Side<A>> {
    const started = Effect.suspend(() => {
      const branch = this.attempting.branch(provider)
      const mark = { lost: false }
      const run = Effect.provideService(asHedge(branch.run), Attempts.Race, mark)
      // not a child: the caller's fiber would wait for a loser before it ends. `leave` ends every side
      return Effect.map(Effect.forkDetach(run, { startImmediately: true }), (fiber) => {
        const side = { branch, mark, fiber }
        this.sides.push(side)
        return side
      })
    })
    return Effect.uninterruptible(started)
  }

  private decided(first: Side<A>, backup: LlmProvider.Service): Effect.Effect<Answer<A>, RaceLost> {
    return Effect.flatMap(Effect.timeoutOption(Fiber.await(first.fiber), this.delay), (early) =>
      early._tag === "Some" ? this.alone(first) : this.hedged(first, backup)
    )
  }

  /** Without a hedge, what happens to the first is what happens. */
  private alone(first: Side<A>): Effect.Effect<Answer<A>, RaceLost> {
    return Effect.mapError(answerOf(first), (primary) => ({ primary, backup: undefined }))
  }

  /** The first is slow: the second starts if it may. An answer decides, or a defect; after a failure the other side. */
  private hedged(first: Side<A>, backup: LlmProvider.Service): Effect.Effect<Answer<A>, RaceLost> {
    return Effect.withFiber((fiber) => {
      const ledger = fiber.getRef(Attempts.Current)
      if (!Attempts.take(fiber)) return this.alone(first)
      if (this.allowance?.take(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()) === false) {
        Attempts.giveBack(ledger)
        return this.alone(first)
      }
      const refused = (error: LlmError) =>
        Effect.sync(() => {
          if (error.phase !== "refused") return
          Attempts.giveBack(ledger)
          this.allowance?.giveBack()
        })
      const asHedge = (run: Effect.Effect<A, LlmError>) =>
        Effect.provideService(Effect.tapError(run, refused), Attempts.MayWait, false)
      return Effect.flatMap(this.start(backup, asHedge), (second) =>
        Effect.raceFirst(
          Effect.catch(answerOf(first), (primary) =>
            Effect.mapError(answerOf(second), (error) => lost(primary, error))
          ),
          Effect.catch(answerOf(second), (error) => Effect.mapError(answerOf(first), (primary) => lost(primary, error)))
        )
      )
    })
  }

  /** Ends every side but the winner's. An answer does not wait for the loser, a failure and an interruption do. */
  private leave(winner: Side<A> | undefined): Effect.Effect<void> {
    const others = this.sides.filter((side) => side !== winner)
    for (const side of others) side.mark.lost = winner !== undefined
    const ended = Effect.andThen(
      Fiber.interruptAll(others.map(({ fiber }) => fiber)),
      Effect.forEach(others, ({ branch }) => branch.close, { discard: true })
    )
    if (winner === undefined) return ended
    return others.length === 0 ? Effect.void : Effect.asVoid(Effect.forkDetach(ended, { startImmediately: true }))
  }
}

const answerOf = <A>(side: Side<A>): Effect.Effect<Answer<A>, LlmError> =>
  Effect.map(Fiber.join(side.fiber), (value) => ({ side, value }))

const hasNotFailed = ({ fiber }: Side<unknown>): boolean => {
  const exit = fiber.pollUnsafe()
  return exit === undefined || Exit.isSuccess(exit)
}

const lost = (primary: LlmError, error: LlmError): RaceLost => ({
  primary,
  backup: error.phase === "refused" ? undefined : error
})
