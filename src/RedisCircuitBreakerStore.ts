/**
 * A `CircuitBreakerStore` that processes share, over Effect's `Redis` (5 or later).
 *
 * A closed circuit is answered from a copy that is at most a second old while it is used, without a round trip; only a call
 * that would try a circuit waits for Redis, so that no more than `probes` try in the whole fleet. Outcomes are told in the
 * background: failures at once, successes once a second.
 *
 * While Redis does not answer, each process goes on with its copies alone, which it logs and counts; no method ever fails.
 * A circuit that Redis has lost is closed. One that opened here in the outage stays open for as long as it would have.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis } from "effect/persistence/Redis"
import { CircuitBreakerStore, type Service } from "./CircuitBreakerStore.ts"
import { keyOf } from "./internal/circuitExchange.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { finiteMillis } from "./internal/options.ts"
import { RedisCircuits } from "./internal/redisCircuits.ts"

/** Where circuits lie in Redis, and how long it may take to answer. */
export interface Options {
  /** What all keys begin with. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** Circuits of the same name are the same within one group. Default `"circuits"`. */
  readonly group?: string | undefined
  /** How long a command may take. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
}

/** Needs no Redis that answers. Bad options throw a `RangeError`. */
export const make = (options: Options = {}): Effect.Effect<Service, never, Redis | Scope.Scope> => {
  const { commandTimeout = 250, group = "circuits", prefix = "ballast" } = options
  const millis = finiteMillis("RedisCircuitBreakerStore.make: commandTimeout", commandTimeout)
  return Effect.gen(function* () {
    const settings = { redis: yield* Redis, keyOf: keyOf(prefix, group), commandTimeout: millis }
    return yield* Effect.acquireRelease(RedisCircuits.make(settings), (circuits) => circuits.close)
  })
}

/** As `make`. Closing it sends what was not sent, for as long as a command may take. */
export const layer = (options?: Options): Layer.Layer<CircuitBreakerStore, never, Redis> =>
  Layer.effect(CircuitBreakerStore, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<CircuitBreakerStore, Config.ConfigError, Redis> =>
  Layer.effect(CircuitBreakerStore, configured(options, make))
