/** Scripted providers that also count which of their calls are open, and calls that are run to their end in virtual time. */
import { Clock, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { LlmError } from "effect-ballast/LlmError"
import type { Service } from "effect-ballast/LlmProvider"
import type { LlmRequest } from "effect-ballast/LlmRequest"
import { collectParts } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"

export interface Counted extends TestProvider.Service {
  /** Calls and streams that were begun, and that are not yet over. */
  readonly live: { opened: number; open: number }
}

export const scripted = (
  name: string,
  steps: ReadonlyArray<TestProvider.Step>,
  more: Pick<Service, "contextWindow" | "continuesAnswers"> = {}
): Counted => {
  const inner = TestProvider.make({ provider: name, steps })
  const live = { opened: 0, open: 0 }
  const begin = Effect.sync(() => {
    live.opened++
    live.open++
  })
  const end = () => Effect.sync(() => live.open--)
  return {
    ...inner,
    ...more,
    live,
    generate: (request) => Effect.acquireUseRelease(begin, () => inner.generate(request), end),
    stream: (request) =>
      Stream.scoped(Stream.unwrap(Effect.as(Effect.acquireRelease(begin, end), inner.stream(request))))
  }
}

export const counts = (...providers: ReadonlyArray<TestProvider.Service>) => providers.map(({ calls }) => calls.length)

export type Method = "generate" | "stream"

export const methods: ReadonlyArray<Method> = ["generate", "stream"]

/** The text and who gave it, by either method. */
export const ask = (provider: Service, method: Method, request: LlmRequest) =>
  Effect.gen(function* () {
    const { parts } =
      method === "generate"
        ? yield* provider.generate(request)
        : { parts: collectParts(yield* Stream.runCollect(provider.stream(request))) }
    const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
    const finish = parts.find((part) => part.type === "finish")
    return { text, by: finish?.metadata?.["ballast"] }
  })

/** Starts an effect, lets an hour pass, and tells how it ended and how many milliseconds that took. */
export const timed = <A>(self: Effect.Effect<A, LlmError>) =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const fiber = yield* Effect.forkChild(
      Effect.flatMap(Effect.exit(self), (exit) => Effect.map(Clock.currentTimeMillis, (now) => ({ exit, now })))
    )
    yield* TestClock.adjust("1 hour")
    const { exit, now } = yield* Fiber.join(fiber)
    return { exit, took: now - began }
  })
