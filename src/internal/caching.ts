/** What a cache does with a call: finds an answer, joins a call that is on its way, or makes one and keeps its answer. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as Attempts from "../Attempts.ts"
import { CacheControl } from "../CacheControl.ts"
import * as Caller from "../Caller.ts"
import { consequence, type LlmError } from "../LlmError.ts"
import type * as Receipt from "../Receipt.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { isVisible, type LlmPart, type LlmResponse } from "../LlmResponse.ts"
import * as entries from "./cacheEntry.ts"
import type { CacheKeeper, Found } from "./cacheKeeper.ts"
import { answeredBy, Flight } from "./flight.ts"
import { bounded, contextOf, isPersonal } from "./sharedCall.ts"

export interface Settings {
  /** Milliseconds. */
  readonly timeToLive: number
  readonly staleWhileRevalidate: number
  readonly staleIfError: number
  /** How long an answer of another provider than the first is kept; 0 for not at all. */
  readonly fallbacks: number
  readonly maxEntryBytes: number
  /** How long a shared call may take. */
  readonly total: number
  readonly drains: boolean
  readonly when: (request: LlmRequest) => boolean
}

/** One request, as it is looked for. */
export interface Asked {
  readonly request: LlmRequest
  readonly provider: Provider
  readonly key: string
  readonly partition: string | undefined
  readonly caller: Caller.Identity
  /** Milliseconds that its answer is kept. */
  readonly timeToLive: number
  readonly refreshes: boolean
  readonly receipt: Receipt.Open | undefined
}

export type KeyOf = (
  request: LlmRequest,
  provider: Provider,
  caller: Caller.Identity
) => Pick<Asked, "key" | "partition"> | undefined

type Method = "generate" | "stream"

/** Somebody who waits for a call. */
interface Seat {
  readonly flight: Flight
  /** Whether the call was begun for him, and whether he wants all of it at once. */
  readonly leads: boolean
  readonly collects: boolean
}

export class Caching {
  private readonly settings: Settings
  private readonly keeper: CacheKeeper
  private readonly keyOf: KeyOf
  private readonly flights = new Map<string, Flight>()
  private readonly running = new Set<Flight>()

  constructor(settings: Settings, keeper: CacheKeeper, keyOf: KeyOf) {
    this.settings = settings
    this.keeper = keeper
    this.keyOf = keyOf
  }

  wrap(inner: Provider): Provider {
    return {
      ...inner,
      generate: (request) => Effect.withFiber((caller) => this.generate(caller, inner, request)),
      stream: (request) =>
        Stream.unwrap(Effect.withFiber((caller) => Effect.sync(() => this.stream(caller, inner, request))))
    }
  }

  /** Ends what still runs. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach([...this.running], (flight) => flight.interrupt, { concurrency: "unbounded", discard: true })
    )
  }

  /** `undefined` for what is not to be cached. */
  asked(caller: Fiber.Fiber<unknown, unknown>, provider: Provider, request: LlmRequest): Asked | undefined {
    const control = caller.getRef(CacheControl)
    if (control.mode === "bypass" || !this.settings.when(request)) return undefined
    const identity = caller.getRef(Caller.Caller)
    const named = this.keyOf(request, provider, identity)
    if (named === undefined) return undefined
    const timeToLive =
      control.timeToLive === undefined ? this.settings.timeToLive : Duration.toMillis(control.timeToLive)
    return {
      request,
      provider,
      ...named,
      caller: identity,
      timeToLive,
      refreshes: control.mode === "refresh",
      receipt: Attempts.receiptOf(caller)
    }
  }

  private generate(
    caller: Fiber.Fiber<unknown, unknown>,
    inner: Provider,
    request: LlmRequest
  ): Effect.Effect<LlmResponse, LlmError> {
    const asked = this.asked(caller, inner, request)
    if (asked === undefined) {
      this.keeper.count("bypass", Attempts.receiptOf(caller))
      return inner.generate(request)
    }
    const hit = this.onTheSpot(caller, asked, "generate")
    return hit === undefined ? this.joining(asked) : Exit.succeed(entries.responseOf(hit.stored, hit.storedAt))
  }

  private joining(asked: Asked): Effect.Effect<LlmResponse, LlmError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiber((caller) => {
        const seat = this.seat(caller, asked, "generate")
        const answer = Effect.onExit(restore(seat.flight.answer(asked.provider)), () => this.leave(seat, asked))
        if (seat.leads) return answer
        return Effect.catchIf(answer, isPersonal, () => restore(this.joining(asked)))
      })
    )
  }

  private stream(
    caller: Fiber.Fiber<unknown, unknown>,
    inner: Provider,
    request: LlmRequest
  ): Stream.Stream<LlmPart, LlmError> {
    const asked = this.asked(caller, inner, request)
    if (asked === undefined) {
      this.keeper.count("bypass", Attempts.receiptOf(caller))
      return inner.stream(request)
    }
    const hit = this.onTheSpot(caller, asked, "stream")
    return hit === undefined ? this.following(asked) : Stream.fromIterable(entries.partsOf(hit.stored, hit.storedAt))
  }

  private following(asked: Asked): Stream.Stream<LlmPart, LlmError> {
    const seat = Effect.withFiber((caller: Fiber.Fiber<unknown, unknown>) =>
      Effect.sync(() => {
        const seat = this.seat(caller, asked, "stream")
        return { ...seat, reader: seat.flight.reader() }
      })
    )
    const taken = Effect.acquireRelease(seat, (seat) => {
      seat.reader.close()
      return this.leave(seat, asked)
    })
    const followed = Effect.map(taken, ({ leads, reader }) => {
      const parts = Stream.fromPull(Effect.succeed(reader.pull))
      if (leads) return parts
      return Stream.catchIf(
        parts,
        (error): error is LlmError => reader.next === 0 && isPersonal(error),
        () => this.following(asked)
      )
    })
    return Stream.unwrap(followed)
  }

  /** In the call that is on its way, or in a new one; whoever sits must leave. */
  private seat(caller: Fiber.Fiber<unknown, unknown>, asked: Asked, method: Method): Seat {
    const known = asked.refreshes ? undefined : this.flights.get(asked.key)
    const collects = method === "generate"
    if (known === undefined) return { flight: this.start(caller, asked, method), leads: true, collects }
    known.enter(collects)
    // one that has ended is only waiting to be stored
    this.keeper.count(known.exit === undefined ? "shared" : "hit", asked.receipt)
    return { flight: known, leads: false, collects }
  }

  private leave({ collects, flight, leads }: Seat, { caller, provider }: Asked): Effect.Effect<void> {
    if (!leads && flight.exit !== undefined && Exit.isSuccess(flight.exit))
      this.keeper.saved(
        flight.whole?.parts ?? flight.recorded,
        flight.whole ?? answeredBy(flight.recorded, provider),
        caller
      )
    return flight.leave(collects, this.settings.drains)
  }

  /** From a store that answers at once. What is stale is given, and asked for anew behind it. */
  private onTheSpot(caller: Fiber.Fiber<unknown, unknown>, asked: Asked, method: Method): Found | undefined {
    if (asked.refreshes || this.keeper.store.external || this.flights.has(asked.key)) return undefined
    const found = this.keeper.findOnTheSpot(asked, caller.getRef(Clock.Clock).currentTimeMillisUnsafe())
    if (found === undefined || found.state === "expired") return undefined
    if (found.state === "stale") this.revalidate(caller, asked, method)
    this.keeper.hit(found, asked)
    return found
  }

  private revalidate(caller: Fiber.Fiber<unknown, unknown>, asked: Asked, method: Method): void {
    if (this.flights.has(asked.key)) return
    // whoever it is begun for never leaves: it goes on to its end
    this.start(caller, { ...asked, refreshes: true, receipt: asked.receipt?.behind() }, method)
  }

  /** With the first caller's context, who pays, and has a seat; the call has a deadline and a ledger of its own. */
  private start(caller: Fiber.Fiber<unknown, unknown>, asked: Asked, method: Method): Flight {
    const flight = new Flight(this.settings.maxEntryBytes)
    flight.enter(method === "generate")
    this.flights.set(asked.key, flight)
    this.running.add(flight)
    const now = caller.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const context = contextOf(caller, now + this.settings.total, asked.receipt)
    const call = (stale: Found | undefined) => this.call(flight, asked, method, stale)
    const sought = asked.refreshes ? call(undefined) : this.sought(flight, asked, call)
    flight.start(context, bounded(asked.provider, now, this.settings.total, sought), () => {
      this.running.delete(flight)
      if (this.flights.get(asked.key) === flight) this.flights.delete(asked.key)
    })
    return flight
  }

  /** Looks into the store first. */
  private sought(
    flight: Flight,
    asked: Asked,
    call: (stale: Found | undefined) => Effect.Effect<void, LlmError>
  ): Effect.Effect<void, LlmError> {
    return Effect.flatMap(this.keeper.find(asked), (found) => {
      if (found === undefined || found.state === "expired") return call(found)
      this.keeper.hit(found, asked)
      flight.fulfil(entries.responseOf(found.stored, found.storedAt), entries.partsOf(found.stored, found.storedAt))
      if (found.state === "fresh") return Effect.void
      return Effect.withFiber((fiber) =>
        Effect.sync(() => {
          this.flights.delete(asked.key)
          this.revalidate(fiber, asked, found.stored.kind === "stream" ? "stream" : "generate")
        })
      )
    })
  }

  private call(flight: Flight, asked: Asked, method: Method, stale: Found | undefined): Effect.Effect<void, LlmError> {
    this.keeper.count("miss", asked.receipt)
    const made = method === "generate" ? this.whole(flight, asked) : this.streamed(flight, asked)
    const answered = Effect.catchIf(
      made,
      (error): error is LlmError =>
        stale !== undefined && consequence(error).degrade !== "no" && !flight.recorded.some(isVisible),
      (error) => {
        if (stale === undefined) return Effect.fail(error)
        this.keeper.count("stale", asked.receipt)
        flight.fulfil(entries.responseOf(stale.stored, stale.storedAt), entries.partsOf(stale.stored, stale.storedAt))
        return Effect.succeed(undefined)
      }
    )
    return Effect.flatMap(answered, (stored) =>
      stored === undefined ? Effect.void : this.keep(asked, stored, flight.bytes)
    )
  }

  private whole(flight: Flight, asked: Asked): Effect.Effect<entries.Stored | undefined, LlmError> {
    return Effect.map(asked.provider.generate(asked.request), (response) => {
      flight.fulfil(response)
      return flight.isWhole ? entries.ofResponse(response) : undefined
    })
  }

  private streamed(flight: Flight, asked: Asked): Effect.Effect<entries.Stored | undefined, LlmError> {
    const read = Stream.runForEachArray(asked.provider.stream(asked.request), (parts) => {
      const appended = flight.append(parts)
      // what is not kept whole cannot be joined
      if (!flight.isWhole && this.flights.get(asked.key) === flight) this.flights.delete(asked.key)
      return appended
    })
    return Effect.map(read, () => {
      flight.end(Exit.void)
      return flight.isWhole ? entries.ofStream(flight.recorded, asked.provider) : undefined
    })
  }

  /** Some expire a little sooner, so that what was stored together is not asked for together. */
  private keep(asked: Asked, stored: entries.Stored, bytes: number): Effect.Effect<void> {
    const isFallback = stored.provider !== asked.provider.provider || stored.model !== asked.provider.model
    const most = isFallback ? Math.min(asked.timeToLive, this.settings.fallbacks) : asked.timeToLive
    if (most <= 0) return Effect.void
    return Effect.flatMap(Random.next, (random) => this.keeper.keep(asked, stored, most * (1 - random / 10), bytes))
  }
}
