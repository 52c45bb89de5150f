/** Redis stores for tests, in groups of their own. */
import process from "node:process"
import { Duration, Effect } from "effect"
import { Redis } from "effect/persistence"
import type { Durable } from "effect-ballast/Ledger"
import { moneyScripts } from "../../src/internal/redisMoney.ts"
import { Keys, scripts } from "../../src/internal/redisQuotas.ts"
import { Store } from "../../src/internal/redisQuotaStore.ts"

export const ttl = Duration.minutes(1)

/** Milliseconds between two renewals. */
export const third = Duration.toMillis(ttl) / 3

/** Tests of processes and connections run in real time. */
export const live = { excludeTestServices: true }

let groups = 0

/** A group that no other test uses, of a process that no other test run is. */
export const newGroup = () => `test-${process.pid}-${groups++}`

export interface Options {
  readonly ledger?: Durable
  readonly maxLines?: number
}

/** A store in a group of its own whose time passes when it is told to, and the time of its renewals with it. */
export const timed = (options: Options = {}) =>
  Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const group = newGroup()
    let offset = 0
    const settings = { redis, keys: new Keys("ballast", group), commandTimeout: 250, offset: () => offset, ...options }
    /** Another process. */
    const another = Effect.gen(function* () {
      const store = new Store(settings, yield* Effect.context())
      yield* Effect.addFinalizer(() => store.close)
      return store
    })
    const store = yield* another
    const pass = (millis: number) =>
      Effect.andThen(
        redis.send("EVAL", moveExpiries, "0", `ballast:{${group}}:*`, `${millis}`),
        Effect.sync(() => void (offset += millis))
      )
    return { store, another, pass, redis, group }
  })

/** What a key has yet to live is shorter by so much. */
const moveExpiries = `
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
  local life = redis.call("PTTL", key)
  if life >= 0 then redis.call("PEXPIRE", key, life - ARGV[2]) end
end`

/** Loads the scripts of the renewals, so that they are one command in the virtual time of a test. */
export const warm = (redis: Redis.Redis["Service"]) =>
  Effect.andThen(redis.send("SCRIPT", "LOAD", scripts.renew.lua), redis.send("SCRIPT", "LOAD", moneyScripts.renew.lua))
