/** As much of Redis as `RedisCircuitBreakerStore` needs, in the virtual time of a test, and as unreliable as it is told to be. */
import { Clock, Effect } from "effect"
import { Redis } from "effect/persistence"
import { scripts } from "../../src/internal/circuitExchange.ts"

export interface FakeRedis {
  readonly redis: Redis.Redis["Service"]
  /** What is there, by key. */
  readonly values: Map<string, string>
  /** Scripts run so far. */
  readonly calls: { read: number; swap: number }
  /** What comes before each script runs, and between that and its answer. */
  before: Effect.Effect<void, Redis.RedisError>
  after: Effect.Effect<void, Redis.RedisError>
}

export const refused = Effect.fail(
  new Redis.RedisError({ cause: Object.assign(new Error("down"), { code: "ECONNREFUSED" }) })
)

const unused = () => Effect.die("no part of the fake")

/** Expiry is left to the tests on a real server. */
export const fakeRedis = (): FakeRedis => {
  const values = new Map<string, string>()
  const calls = { read: 0, swap: 0 }
  const swap = (now: number, key: string, [expected = "", value = ""]: ReadonlyArray<string>) => {
    calls.swap++
    const there = values.get(key) ?? ""
    if (expected !== "*" && there.slice(0, 36) !== expected) return [now, there, 0]
    values.set(key, value)
    return [now, "", 1]
  }
  const read = (now: number, key: string) => {
    calls.read++
    return [now, values.get(key) ?? ""]
  }
  const send = <A>(_: string, sha = "", __ = "", key = "", ...args: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      yield* fake.before
      const now = yield* Clock.currentTimeMillis
      const reply = sha === scripts.swap.sha ? swap(now, key, args) : read(now, key)
      yield* fake.after
      return reply as A // of the script's own kind
    })
  const fake: FakeRedis = {
    redis: { send, subscribe: unused, eval: unused, reserve: Effect.die("no part of the fake") } as never, // only `send` is used
    values,
    calls,
    before: Effect.void,
    after: Effect.void
  }
  return fake
}
