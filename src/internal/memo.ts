/** Values of any effect, kept as JSON and made once for all who want the same at the same time. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { CacheKeeper } from "./cacheKeeper.ts"

export interface Memoized<A, I> {
  readonly key: string
  readonly partition: string | undefined
  readonly schema: Schema.Codec<A, I>
  /** Milliseconds; `undefined` for the default. */
  readonly timeToLive: number | undefined
}

interface Running {
  waiters: number
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

export class Memo {
  private readonly keeper: CacheKeeper
  private readonly timeToLive: number
  private readonly running = new Map<string, Running>()

  constructor(keeper: CacheKeeper, timeToLive: number) {
    this.keeper = keeper
    this.timeToLive = timeToLive
  }

  /** Ends what still runs. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => Fiber.interruptAll([...this.running.values()].map(({ fiber }) => fiber)))
  }

  run<A, I, E, R>(of: Memoized<A, I>, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const name = JSON.stringify([of.partition ?? null, of.key])
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiber((caller: Fiber.Fiber<unknown, unknown>) => {
        const known = this.running.get(name)
        // the fiber that asks has what the effect needs
        const joined = known ?? this.start(name, caller.context as Context.Context<R>, this.sought(of, self))
        if (known !== undefined) this.keeper.count("shared")
        joined.waiters++
        // one name stands for values of one schema, as `Memoize.key` says
        const value = restore(Fiber.join(joined.fiber)) as Effect.Effect<A, E>
        return Effect.onExit(value, () => this.leave(joined))
      })
    )
  }

  private start<R>(name: string, context: Context.Context<R>, run: Effect.Effect<unknown, unknown, R>): Running {
    const running = { waiters: 0, fiber: Effect.runForkWith(context)(run) }
    this.running.set(name, running)
    running.fiber.addObserver(() => {
      if (this.running.get(name) === running) this.running.delete(name)
    })
    return running
  }

  private leave(running: Running): Effect.Effect<void> {
    if (--running.waiters > 0 || running.fiber.pollUnsafe() !== undefined) return Effect.void
    return Fiber.interrupt(running.fiber)
  }

  private sought<A, I, E, R>(of: Memoized<A, I>, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.flatMap(this.find(of), (found) => {
      if (Option.isSome(found)) {
        this.keeper.count("hit")
        return Exit.succeed(found.value)
      }
      this.keeper.count("miss")
      return Effect.tap(self, (value) => this.keep(of, value))
    })
  }

  private find<A, I>({ key, partition, schema }: Memoized<A, I>): Effect.Effect<Option.Option<A>> {
    const decode = Schema.decodeUnknownOption(Schema.toCodecJson(schema))
    return Effect.map(this.keeper.asking(this.keeper.store.get(key, partition)), (entry) => {
      const value = entry?.value
      if (typeof value !== "object" || value === null || !("memo" in value)) return Option.none()
      return decode(value.memo)
    })
  }

  /** What has no form as JSON is not kept. */
  private keep<A, I>({ key, partition, schema, timeToLive = this.timeToLive }: Memoized<A, I>, value: A) {
    const encoded = Schema.encodeUnknownOption(Schema.toCodecJson(schema))(value)
    if (Option.isNone(encoded) || timeToLive <= 0) return Effect.void
    const set = Effect.flatMap(Clock.currentTimeMillis, (createdAt) => {
      const entry = { value: { memo: encoded.value }, createdAt, expiresAt: Math.ceil(createdAt + timeToLive) }
      return this.keeper.store.set(key, entry, partition)
    })
    return this.keeper.asking(Effect.tap(set, () => Effect.sync(() => this.keeper.counts.stored++)))
  }
}
