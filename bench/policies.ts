/** What the policies add to a call that succeeds at once. */
import { RunnableLambda } from "@langchain/core/runnables"
import { ExponentialBackoff, fallback, handleAll, retry, timeout, TimeoutStrategy } from "cockatiel"
import { Effect, Schedule } from "effect"
import Opossum from "opossum"
import { Fallback, type LlmProvider, LlmRequest, Resilient, Retry, Timeouts } from "../src/index.ts"
import { awaited, inFiber, type Suite } from "./harness.ts"
import { answer, async, cockatielPolicies, resilient, slots, sync } from "./stacks.ts"

const request = LlmRequest.makeUnsafe("What is ballast?")
const call = (provider: LlmProvider.Service) => Effect.suspend(() => provider.generate(request))
const promised = () => Promise.resolve(answer)

const retried = Retry.make()(sync)
const plainRetry = Effect.retry(sync.generate(request), Schedule.recurs(4))

export const retrySuite: Suite = {
  name: "Retry on success (what it adds to a call that answers on the spot, in a fiber)",
  base: "bare call",
  cases: [
    inFiber("bare call", call(sync)),
    inFiber("Ballast Retry", call(retried)),
    inFiber("Effect.retry", plainRetry)
  ]
}

const retriedAsync = Retry.make()(async)
const cockatielRetry = retry(handleAll, { maxAttempts: 4, backoff: new ExponentialBackoff() })
const langchain = RunnableLambda.from(promised)
const langchainRetry = langchain.withRetry({ stopAfterAttempt: 5 })

export const retryPromiseSuite: Suite = {
  name: "Retry on success, a promise awaited",
  base: "Ballast Retry, runPromise",
  cases: [
    awaited("bare promise", promised),
    awaited("bare Effect.promise, runPromise", () => Effect.runPromise(async.generate(request))),
    awaited("Ballast Retry, runPromise", () => Effect.runPromise(retriedAsync.generate(request))),
    awaited("cockatiel retry", () => cockatielRetry.execute(promised)),
    awaited("LangChain RunnableLambda, bare", () => langchain.invoke("")),
    awaited("LangChain RunnableLambda.withRetry", () => langchainRetry.invoke(""))
  ]
}

const fallen = Fallback.make()([async, async])
const plainFallback = Effect.catch(async.generate(request), () => async.generate(request))
const cockatielFallback = fallback(handleAll, promised)
const langchainFallbacks = langchain.withFallbacks([langchain])

export const fallbackSuite: Suite = {
  name: "Fallback on success, a promise awaited",
  base: "Ballast Fallback, runPromise",
  cases: [
    awaited("bare promise", promised),
    awaited("bare Effect.promise, runPromise", () => Effect.runPromise(async.generate(request))),
    awaited("Ballast Fallback, runPromise", () => Effect.runPromise(fallen.generate(request))),
    awaited("Effect.catch, runPromise", () => Effect.runPromise(plainFallback)),
    awaited("cockatiel fallback", () => cockatielFallback.execute(promised)),
    awaited("LangChain RunnableLambda.withFallbacks", () => langchainFallbacks.invoke(""))
  ]
}

const timed = Timeouts.make()(async)
const plainTimeout = Effect.timeout(async.generate(request), "5 minutes")
const cockatielTimeout = timeout(300_000, TimeoutStrategy.Aggressive)
const opossum = new Opossum(promised, { timeout: 300_000 })

export const timeoutSuite: Suite = {
  name: "Timeouts on success (a call that answers by a promise)",
  base: "bare call",
  cases: [
    inFiber("bare call", call(async)),
    inFiber("Ballast Timeouts", call(timed)),
    inFiber("Effect.timeout", plainTimeout),
    awaited("cockatiel timeout, awaited", () => cockatielTimeout.execute(promised)),
    awaited("opossum with a timeout (and its circuit), awaited", () => opossum.fire())
  ]
}

const stack = Resilient.make({ retry: {}, degrade: { static: "sorry" } }, 2)([async, async])

const { cache: _, ...withoutCache } = slots
const gated = resilient(async, withoutCache)

const cockatiel = cockatielPolicies(100)

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
    inFiber("bare call, in a fiber", call(async)),
    inFiber("Ballast Resilient, in a fiber", call(stack)),
    inFiber("Ballast Resilient with breaker, budget, limiter, retry, timeouts and telemetry, in a fiber", call(gated)),
    inFiber("Effect's own parts, in a fiber", fromEffect),
    awaited("Ballast Resilient, runPromise", () => Effect.runPromise(stack.generate(request))),
    awaited("cockatiel wrap(fallback, retry, breaker, bulkhead, timeout)", () => cockatiel.execute(promised))
  ]
}
