/** What the policies add to a call that succeeds at once. */
import {
  bulkhead,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  fallback,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap
} from "cockatiel"
import { Effect, Schedule } from "effect"
import { type LlmProvider, LlmRequest, LlmResponse, Resilient, Retry, Timeouts } from "../src/index.ts"
import { awaited, inFiber, type Suite } from "./harness.ts"

const request = LlmRequest.makeUnsafe("What is ballast?")

const answer = new LlmResponse.LlmResponse({
  provider: "bench",
  model: "m",
  parts: [
    { type: "text", text: "Weight low in a ship." },
    { type: "finish", reason: "stop", usage: { inputTokens: { total: 5 }, outputTokens: { total: 5 } } }
  ]
})

/** Answers on the spot, or after one turn of the event loop's microtasks as a client over HTTP would at best. */
const provider = (generate: Effect.Effect<LlmResponse.LlmResponse>): LlmProvider.Service => ({
  provider: "bench",
  model: "m",
  endpoint: "bench",
  credential: "bench",
  generate: () => generate,
  stream: () => {
    throw new Error("not measured here")
  }
})

export const sync = provider(Effect.sync(() => answer))
export const async = provider(Effect.promise(() => Promise.resolve(answer)))

const retried = Retry.make()(sync)
const plainRetry = Effect.retry(sync.generate(request), Schedule.recurs(4))

export const retrySuite: Suite = {
  name: "Retry on success (what it adds to a call that answers on the spot, in a fiber)",
  base: "bare call",
  cases: [
    inFiber(
      "bare call",
      Effect.suspend(() => sync.generate(request))
    ),
    inFiber(
      "Ballast Retry",
      Effect.suspend(() => retried.generate(request))
    ),
    inFiber("Effect.retry", plainRetry)
  ]
}

const timed = Timeouts.make()(async)
const plainTimeout = Effect.timeout(async.generate(request), "5 minutes")

export const timeoutSuite: Suite = {
  name: "Timeouts on success (a call that answers by a promise, in a fiber)",
  base: "bare call",
  cases: [
    inFiber(
      "bare call",
      Effect.suspend(() => async.generate(request))
    ),
    inFiber(
      "Ballast Timeouts",
      Effect.suspend(() => timed.generate(request))
    ),
    inFiber("Effect.timeout", plainTimeout)
  ]
}

const stack = Resilient.make({ retry: {}, degrade: { static: "sorry" } }, 2)([async, async])

const cockatiel = wrap(
  fallback(handleAll, () => answer),
  retry(handleAll, { maxAttempts: 4, backoff: new ExponentialBackoff() }),
  circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
  bulkhead(100, 100),
  timeout(300_000, TimeoutStrategy.Aggressive)
)

const fromEffect = async.generate(request).pipe(
  Effect.timeout("5 minutes"),
  Effect.retry(Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(4)])),
  Effect.catch(() => async.generate(request)),
  Effect.timeout("10 minutes")
)

export const stackSuite: Suite = {
  name: "The stack on success (deadline, degrade, fallback, retry, gates, timeouts; a call that answers by a promise)",
  base: "Ballast Resilient, in a fiber",
  cases: [
    inFiber(
      "bare call, in a fiber",
      Effect.suspend(() => async.generate(request))
    ),
    inFiber(
      "Ballast Resilient, in a fiber",
      Effect.suspend(() => stack.generate(request))
    ),
    inFiber("Effect's own parts, in a fiber", fromEffect),
    awaited("Ballast Resilient, runPromise", () => Effect.runPromise(stack.generate(request))),
    awaited("cockatiel wrap(fallback, retry, breaker, bulkhead, timeout)", () =>
      cockatiel.execute(() => Promise.resolve(answer))
    )
  ]
}
