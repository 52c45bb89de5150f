/**
 * A shared quota store whose limits survive its outage: while it does not answer, this process takes from its own share of
 * each quota, by its own clock, and what it took is booked in the store when that answers again.
 *
 * What was granted in an outage is settled here, also after it. An entry that does not say what becomes of it fails, and
 * so does what it is part of. Whether the store is asked is decided when a method is called.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Metrics from "../Metrics.ts"
import type { Entry, Service, Shared } from "../QuotaStore.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { StoreUnavailable } from "./reasons.ts"
import { ShareLedger } from "./shareLedger.ts"
import { maxFailures, StoreBreaker } from "./storeBreaker.ts"

/** The same for the same store, so that limiter and budget still reserve as one; a store of one process as it is. */
export const over = (store: Service): Service => {
  if (store.shared === undefined || store instanceof LocalShare) return store
  const known = wrappers.get(store)
  if (known !== undefined) return known
  const wrapper = new LocalShare(store, store.shared)
  wrappers.set(store, wrapper)
  return wrapper
}

const wrappers = new WeakMap<Service, LocalShare>()

type Answer<A> = Effect.Effect<A, StoreUnavailable>

/** A question to the store. */
interface Question<A> {
  readonly ask: () => Answer<A>
  /** What it comes to where it is not asked. */
  readonly notAsked: Exit.Exit<A, StoreUnavailable>
  /** What is answered in place of the store, where that is not how it failed. */
  readonly instead?: ((caller: Caller, asked: boolean) => Answer<A> | undefined) | undefined
}

type Caller = Fiber.Fiber<unknown, unknown>

/** Most lost reservations that are being cancelled at the same time; more are left until they expire. */
const maxCancels = 1000

/** From an attempt to book what was taken here that failed until the next one. */
const pause = Duration.seconds(1)

export class LocalShare implements Service {
  readonly shared: Shared
  readonly ledger: Service["ledger"]
  private readonly store: Service
  private readonly breaker = new StoreBreaker()
  private readonly fallbacks: Metric.Metric<number, unknown>
  private readonly notAsked: Record<"reserve" | "take" | "read", Exit.Exit<never, StoreUnavailable>>
  private own: ShareLedger | undefined
  private cancels = 0
  private booking = false

  constructor(store: Service, shared: Shared) {
    this.store = store
    this.shared = shared
    this.ledger = store.ledger
    this.fallbacks = Metric.withAttributes(Metrics.storeFallbacks, { store: shared.name })
    const description = `not asked after ${maxFailures} failures`
    const failed = (operation: string) =>
      Exit.fail(new StoreUnavailable({ store: shared.name, operation, description }))
    this.notAsked = { reserve: failed("reserve"), take: failed("take"), read: failed("read") }
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) =>
    this.answer({
      ask: () => this.store.reserve(lease, entries, ttl),
      notAsked: this.notAsked.reserve,
      instead: (caller, asked) => {
        if (!entries.every(survives)) return undefined // and the lease is still the caller's to settle
        if (asked) this.cancel(caller, lease, entries)
        return this.locally(caller).reserve(lease, entries, ttl)
      }
    })

  /** Where the store granted it, the store is told, in an outage too: it knows itself how to tell it later. */
  readonly settle: Service["settle"] = (lease, actual, charge) =>
    this.own?.settle(lease, actual) ?? this.store.settle(lease, actual, charge)

  /** What the store took though its answer was lost is not undone, and counts twice. */
  readonly take: Service["take"] = (entries) =>
    this.answer({
      ask: () => this.store.take(entries),
      notAsked: this.notAsked.take,
      instead: (caller) => (entries.every(survives) ? this.locally(caller).take(entries) : undefined)
    })

  readonly read: Service["read"] = (entries) =>
    this.answer({ ask: () => this.store.read(entries), notAsked: this.notAsked.read })

  readonly observe: Service["observe"] = (entry) =>
    this.answer({ ask: () => this.store.observe(entry), notAsked: Exit.void })

  /** How much is remembered, for tests. */
  get size(): { readonly leases: number; readonly cancels: number } {
    return { leases: this.own?.size ?? 0, cancels: this.cancels }
  }

  private answer<A>(question: Question<A>): Answer<A> {
    if (!this.breaker.isOpen) return this.ask(question)
    return Effect.withFiber((caller) => {
      if (this.breaker.mayAsk(nowOf(caller))) return this.ask(question)
      return question.instead?.(caller, false) ?? question.notAsked
    })
  }

  private ask<A>(question: Question<A>): Answer<A> {
    const { epoch } = this.breaker
    const asked = question.ask()
    if (this.isWell && isSuccess(asked)) return asked
    return Effect.matchCauseEffect(asked, {
      onSuccess: (answer) => (this.isWell ? Exit.succeed(answer) : this.succeeded(answer, epoch)),
      onFailure: (cause) => this.failed(question, cause, epoch)
    })
  }

  private get isWell(): boolean {
    return this.breaker.isCalm && this.own?.owes !== true
  }

  private succeeded<A>(answer: A, epoch: number): Answer<A> {
    return Effect.withFiber((caller) => {
      if (this.breaker.succeeded(epoch))
        inBackground(caller, Effect.logInfo(`Quota store ${this.shared.name} answers again`))
      if (!this.breaker.isOpen) this.book(caller)
      return Exit.succeed(answer)
    })
  }

  private failed<A>(question: Question<A>, cause: Cause.Cause<StoreUnavailable>, epoch: number): Answer<A> {
    return Effect.withFiber((caller) => {
      const failure = Cause.hasDies(cause) ? undefined : cause.reasons.find(Cause.isFailReason)
      if (failure === undefined || failure.error.answered === true) return Effect.failCause(cause)
      if (this.breaker.failed(epoch, nowOf(caller))) inBackground(caller, this.begins(failure.error))
      return question.instead?.(caller, true) ?? Effect.failCause(cause)
    })
  }

  private begins({ description, operation }: StoreUnavailable): Effect.Effect<void> {
    const reason = description === undefined ? operation : `${operation}: ${description}`
    return Effect.logWarning(
      `Quota store ${this.shared.name} does not answer (${reason}): limits go on with this process's share`
    )
  }

  private locally(caller: Caller): ShareLedger {
    this.fallbacks.updateUnsafe(1, caller.context)
    this.own ??= new ShareLedger(caller.getRef(Clock.Clock), this.shared.instances)
    return this.own
  }

  /** It may have been carried out though its answer was lost. */
  private cancel(caller: Caller, lease: string, entries: ReadonlyArray<Entry>): void {
    if (this.cancels >= maxCancels) return
    this.cancels++
    const nothing = entries.map(() => 0)
    const cancelled = Effect.suspend(() => this.store.settle(lease, nothing))
    inBackground(
      caller,
      Effect.onExit(Effect.exit(cancelled), () => Effect.sync(() => this.cancels--))
    )
  }

  /** What cannot be booked is tried again after the next success, but not without a pause. */
  private book(caller: Caller): void {
    const { booking, own } = this
    if (booking || own?.owes !== true) return
    this.booking = true
    const booked = Effect.catchCause(own.book(this.store), () =>
      Effect.andThen(
        Effect.logDebug(`What was taken without quota store ${this.shared.name} could not be booked yet`),
        Effect.sleep(pause)
      )
    )
    inBackground(
      caller,
      Effect.onExit(booked, () => Effect.sync(() => (this.booking = false)))
    )
  }
}

const survives = ({ outage }: Entry): boolean => outage !== undefined

const isSuccess = (answer: Answer<unknown>): boolean => {
  const exit = onTheSpot(answer)
  return exit !== undefined && Exit.isSuccess(exit)
}

const nowOf = (caller: Caller): number => caller.getRef(Clock.Clock).currentTimeMillisUnsafe()

/** Begins at once and is waited for by nobody, with what the caller's time and logs are but nothing else of the caller. */
const inBackground = (caller: Caller, effect: Effect.Effect<unknown>): void => {
  Effect.runForkWith(background(caller.context))(effect)
}

const background = Context.pick(Clock.Clock, Logger.CurrentLoggers, References.MinimumLogLevel)
