/** Limiters over a store in memory, and who got through them when. */
import { Clock, Context, Effect, Exit, type Fiber, Layer } from "effect"
import { LlmRequest, QuotaStore, RateLimiter } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import { TestProvider } from "effect-ballast/testing"

/** A limiter with a store of its own. */
export const limiter = (options: RateLimiter.Options) =>
  Effect.map(
    Layer.build(RateLimiter.layer(options).pipe(Layer.provide(Layer.fresh(QuotaStore.layerMemory)))),
    (services) => Context.get(services, RateLimiter.RateLimiter)
  )

/** Provider calls behind a limiter. */
export const limited = Effect.fnUntraced(function* (
  options: RateLimiter.Options,
  steps: ReadonlyArray<TestProvider.Step> = ["ok"]
) {
  const limits = yield* limiter(options)
  const inner = TestProvider.make({ steps })
  return { limits, inner, provider: Gate.through([limits.gate])(inner) }
})

/** Milliseconds since the test began, by who. */
export class Log {
  readonly entries: Array<readonly [who: string | number, at: number]> = []
  private readonly began: number

  constructor(began: number) {
    this.began = began
  }

  static readonly make = Effect.map(Clock.currentTimeMillis, (now) => new Log(now))

  note(who: string | number): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (now) => void this.entries.push([who, now - this.began]))
  }

  get times(): ReadonlyArray<number> {
    return this.entries.map(([, at]) => at)
  }

  get names(): ReadonlyArray<string | number> {
    return this.entries.map(([who]) => who)
  }
}

export const request = LlmRequest.makeUnsafe("What is ballast?")

/** Reads what is left of one limit. */
export const left = (limits: RateLimiter.Service, of: Parameters<RateLimiter.Service["state"]>[0], name: string) =>
  Effect.map(limits.state(of), (states) => states.find((state) => state.name === name)?.remaining)

export const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>): boolean => fiber.pollUnsafe() === undefined

/** What a fiber failed with; `undefined` while it runs or when it succeeded. */
export const failureOf = <E>(fiber: Fiber.Fiber<unknown, E>): E | undefined => {
  const exit = fiber.pollUnsafe()
  if (exit === undefined) return undefined
  const found = Exit.findErrorOption(exit)
  return found._tag === "Some" ? found.value : undefined
}
