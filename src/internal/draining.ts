/**
 * Calls whose caller leaves go on for a while, so that the provider still tells what they used. What has not been sent yet
 * is interrupted as ever.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Cause from "effect/Cause"
import * as Stream from "effect/Stream"
import type { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmPart } from "../LlmResponse.ts"

interface State {
  /** Whether the provider was asked. */
  sent: boolean
  left: boolean
}

const Current: Context.Reference<State | undefined> = Context.Reference<State | undefined>("ballast/Draining", {
  defaultValue: () => undefined
})

/** Parts that may lie between a stream and its reader. */
const ahead = 16

/** Most calls that go on without a caller; what would be one more is interrupted. */
const maxDrains = 1000

/** Around the gates. */
export const draining = (inner: Service, millis: number): Service => {
  let drains = 0
  /** Waits for the end of what was not sent, and for nothing else. */
  const leave = (child: Fiber.Fiber<unknown, unknown>, state: State): Effect.Effect<void> =>
    Effect.suspend(() => {
      state.left = true
      if (child.pollUnsafe() !== undefined) return Effect.void
      if (!state.sent || drains >= maxDrains) return Fiber.interrupt(child)
      drains++
      const ended = Effect.timeoutOption(Fiber.await(child), Duration.millis(millis))
      const over = Effect.andThen(ended, Fiber.interrupt(child))
      return Effect.withFiber((caller) => {
        Effect.runForkWith(caller.context)(
          Effect.ensuring(
            over,
            Effect.sync(() => drains--)
          )
        )
        return Effect.void
      })
    })
  return {
    ...inner,
    generate: (request) =>
      Effect.withFiber((parent) =>
        Effect.callback((resume) => {
          const state = { sent: false, left: false }
          const child = Effect.runForkWith(Context.add(parent.context, Current, state))(inner.generate(request))
          child.addObserver(resume)
          return leave(child, state)
        })
      ),
    stream: (request) => Stream.unwrap(opened(inner.stream(request), leave))
  }
}

const opened = Effect.fnUntraced(function* (
  stream: Stream.Stream<LlmPart, LlmError>,
  leave: (child: Fiber.Fiber<unknown, unknown>, state: State) => Effect.Effect<void>
) {
  const queue = yield* Queue.bounded<LlmPart, LlmError | Cause.Done>(ahead)
  const state = { sent: false, left: false }
  const read = Stream.runForEachArray(stream, (parts) =>
    state.left ? Effect.void : Effect.exit(Queue.offerAll(queue, parts))
  )
  const told = Effect.onExit(read, (exit) =>
    Exit.isSuccess(exit) ? Queue.end(queue) : Queue.failCause(queue, exit.cause)
  )
  const start = Effect.withFiber((parent: Fiber.Fiber<unknown, unknown>) =>
    Effect.sync(() => Effect.runForkWith(Context.add(parent.context, Current, state))(told))
  )
  yield* Effect.acquireRelease(start, (child) =>
    Effect.suspend(() => {
      state.left = true
      return Effect.andThen(Queue.shutdown(queue), leave(child, state))
    })
  )
  return Stream.fromQueue(queue)
})

/** Between the gates and the provider: tells that it is asked now. */
export const sending = (inner: Service): Service => {
  const sent = Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
    const state = fiber.getRef(Current)
    if (state !== undefined) state.sent = true
    return Effect.void
  })
  return {
    ...inner,
    generate: (request) => Effect.andThen(sent, inner.generate(request)),
    stream: (request) => Stream.unwrap(Effect.as(sent, inner.stream(request)))
  }
}
