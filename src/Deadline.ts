/**
 * The instant by which a call must be over. Every wait looks at it before it sleeps; a running attempt is ended by
 * `Timeouts`, whose timer it shortens. An inner deadline can only be earlier than the outer one.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import { positiveMillis } from "./internal/options.ts"

/** Milliseconds of the clock, `Infinity` where nobody set one. */
export const Deadline: Context.Reference<number> = Context.Reference<number>("ballast/Deadline", {
  defaultValue: () => Infinity
})

/** Gives an effect at most this long from now on. */
export const within: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E, R> => {
  const millis = positiveMillis("Deadline.within: duration", duration)
  return Effect.withFiber((fiber) => Effect.provideService(self, Deadline, earlier(fiber, millis)))
})

/** Gives a stream at most this long from its first pull on. */
export const withinStream: {
  (duration: Duration.Input): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, duration: Duration.Input): Stream.Stream<A, E, R>
} = dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, duration: Duration.Input): Stream.Stream<A, E, R> => {
  const millis = positiveMillis("Deadline.withinStream: duration", duration)
  return Stream.unwrap(
    Effect.withFiber((fiber) => Effect.succeed(Stream.provideService(self, Deadline, earlier(fiber, millis))))
  )
})

/** The deadline of a fiber, or `millis` from now if that is earlier. */
export const earlier = (fiber: Fiber.Fiber<unknown, unknown>, millis: number): number =>
  Math.min(fiber.getRef(Deadline), fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + millis)

/** The time that is left, zero when the deadline has passed, `Duration.infinity` where there is none. */
export const remaining: Effect.Effect<Duration.Duration> = Effect.withFiberSucceed((fiber) =>
  Duration.millis(Math.max(0, fiber.getRef(Deadline) - fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()))
)
