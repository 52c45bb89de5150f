/**
 * Keeps calls from a provider that is known to be failing, and lets a few of them find out when it has recovered.
 *
 * Sickness (5xx, overload, network, timeouts, streams that break) belongs to the endpoint, a refused key and a used-up quota
 * to the credential: its other models and the endpoint's other keys go on. Rate limits, bad requests, content policies and
 * interruptions say nothing of a provider. A stream is judged by its end, not by its opening.
 *
 * What becomes of a call counts only in the state it was admitted in: a late result changes nothing. An interrupted call that
 * tried a circuit frees its place.
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as CircuitBreakerStore from "./CircuitBreakerStore.ts"
import * as Gate from "./Gate.ts"
import * as circuitGate from "./internal/circuitGate.ts"
import { execute as run } from "./internal/circuitExecute.ts"
import { parse, type RuleOptions } from "./internal/circuitRules.ts"
import type { Verdict } from "./internal/circuitVerdict.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { finiteMillis } from "./internal/options.ts"
import type { CircuitOpen } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as Metrics from "./Metrics.ts"

export type { RuleOptions, SlowCalls } from "./internal/circuitRules.ts"
export type { Verdict } from "./internal/circuitVerdict.ts"

/** What opens a circuit, for how long, and what becomes of calls meanwhile. */
export interface Options extends RuleOptions {
  /** What an attempt says of its provider; `undefined` leaves it to the table of `LlmError.consequence`. */
  readonly classify?: ((settlement: Gate.Settlement) => Verdict | undefined) | undefined
  /** How long a refused key, a used-up quota or a missing model keep a circuit open. Default 5 minutes. */
  readonly lockedFor?: Duration.Input | undefined
  /** Longest that a quota which names its reset keeps it open. Default 1 hour. */
  readonly maxLockedFor?: Duration.Input | undefined
  /** What becomes of calls while others try the circuit: they fail, or wait for the verdict (1,000 of them). Default `"fail"`. */
  readonly whileProbing?: "fail" | "wait" | undefined
  /** `"shadow"` counts and tells, and stops nothing. Default `"enforce"`. */
  readonly mode?: "enforce" | "shadow" | undefined
}

/** A circuit of the program's own, or that of a provider's endpoint. */
export type Of = { readonly key: string } | { readonly provider: LlmProvider.Service }

/**
 * A running circuit breaker. Only `execute` and calls behind `gate` can fail, with `CircuitOpen`, or wait: with
 * `whileProbing: "wait"`, no longer than their deadline and one `probeLease`.
 */
export interface Service {
  /**
   * Runs any effect behind the circuit of this name. What failed or died counts as a failure, an interruption as nothing;
   * `classify` says otherwise.
   */
  readonly execute: (
    key: string,
    options?: ExecuteOptions
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  /** How the circuit is now: closed, if nothing is known of it. That of a provider is its endpoint's. */
  readonly state: (of: Of) => Effect.Effect<CircuitBreakerStore.Snapshot>
  /** Refuses every call until `reset`, whatever happens; of a provider, those to its endpoint with any key. */
  readonly isolate: (of: Of) => Effect.Effect<void>
  /** Closes the circuit and forgets; that of the provider's credential as well. */
  readonly reset: (of: Of) => Effect.Effect<void>
  /** Every transition from now on. A reader that is slow misses the oldest of more than 256. */
  readonly changes: Stream.Stream<CircuitBreakerStore.Transition>
  /** All of it around model calls, as `Gate.through` wants it. */
  readonly gate: Gate.Gate
}

/** How `execute` judges the effect it runs. */
export interface ExecuteOptions {
  /** What a failure says: `"ignored"` for one that is nobody's fault. Default `"failure"`, or the table for an `LlmError`. */
  readonly classify?: ((error: unknown) => Verdict | undefined) | undefined
}

/**
 * The circuit breaker of the program, to run effects behind, to ask and to reset. `layer`, `withCircuitBreaker` and
 * `Resilient.layer` provide it.
 */
export class CircuitBreaker extends Context.Service<CircuitBreaker, Service>()("ballast/CircuitBreaker") {}

/** Options that can never work throw `RangeError`. */
export const make = (
  options: Options = {}
): Effect.Effect<Service, never, CircuitBreakerStore.CircuitBreakerStore | Scope.Scope> => {
  const { rules: reading, slow } = parse(options)
  const locks = {
    locked: finiteMillis("CircuitBreaker.make: lockedFor", options.lockedFor ?? "5 minutes"),
    longest: finiteMillis("CircuitBreaker.make: maxLockedFor", options.maxLockedFor ?? "1 hour")
  }
  return Effect.gen(function* () {
    const store = yield* CircuitBreakerStore.CircuitBreakerStore
    const clock = yield* Clock.Clock
    const rules = yield* reading
    const shadow = options.mode === "shadow"
    const watch = yield* watching(store)
    const settings: circuitGate.Settings = {
      store,
      rules,
      slowness: slow,
      locks,
      classify: options.classify,
      waits: options.whileProbing === "wait",
      shadow,
      now: () => clock.currentTimeMillisUnsafe(),
      watch
    }
    const gate = circuitGate.make(settings)
    return {
      execute: (key, options) => run(settings, key, options?.classify),
      state: (of) => store.read(nameOf(of)),
      isolate: (of) => store.isolate(nameOf(of)),
      reset: (of) => {
        const closed = store.reset(nameOf(of))
        return "key" in of ? closed : Effect.andThen(closed, store.reset(circuitGate.credentialOf(of.provider)))
      },
      changes: store.changes,
      gate
    }
  })
}

/** Shows the circuits of providers as metrics; those of other keys may be too many. */
const watching = Effect.fnUntraced(function* (store: CircuitBreakerStore.Service) {
  const context = yield* Effect.context()
  const providers = new Map<string, { readonly provider: string; readonly model: string }>()
  const show = ({ circuit, to }: Pick<CircuitBreakerStore.Transition, "circuit" | "to">) => {
    const labels = providers.get(circuit)
    if (labels === undefined) return
    Metric.withAttributes(Metrics.circuitBreakerState, labels).updateUnsafe(levels[to], context)
    Metric.withAttributes(Metrics.circuitBreakerTransitions, { ...labels, to }).updateUnsafe(1, context)
  }
  yield* Effect.forkScoped(
    Stream.runForEach(store.changes, (transition) => Effect.sync(() => show(transition))),
    { startImmediately: true }
  )
  return {
    provider: (circuit: string, { model, provider }: LlmProvider.Service) => {
      providers.set(circuit, { provider, model })
      const level = Metric.withAttributes(Metrics.circuitBreakerState, { provider, model })
      const shown = Effect.map(store.read(circuit), ({ state }) => level.updateUnsafe(levels[state], context))
      Effect.runForkWith(context)(shown)
    },
    let: () => Metrics.circuitBreakerShadow.updateUnsafe(1, context)
  }
})

const levels = { closed: 0, halfOpen: 1, open: 2, isolated: 2 } as const

const nameOf = (of: Of): string => ("key" in of ? of.key : circuitGate.endpointOf(of.provider))

/** For `execute`; model calls get theirs from `withCircuitBreaker` or `Resilient`. */
export const layer = (options?: Options): Layer.Layer<CircuitBreaker, never, CircuitBreakerStore.CircuitBreakerStore> =>
  Layer.effect(CircuitBreaker, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<CircuitBreaker, Config.ConfigError, CircuitBreakerStore.CircuitBreakerStore> =>
  Layer.effect(CircuitBreaker, configured(options, make))

/** The provider of a layer behind a circuit breaker, which the layer provides beside it. */
export const withCircuitBreaker = (options?: Options) => {
  const made = make(options)
  return <A, E, R>(
    layer: Layer.Layer<A | LlmProvider.LlmProvider, E, R>
  ): Layer.Layer<A | LlmProvider.LlmProvider | CircuitBreaker, E, R | CircuitBreakerStore.CircuitBreakerStore> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const breaker = yield* made
        const provider = Gate.through([breaker.gate])(yield* LlmProvider.LlmProvider)
        return Context.make(LlmProvider.LlmProvider, provider).pipe(Context.add(CircuitBreaker, breaker))
      })
    ).pipe(Layer.provideMerge(layer))
}

/** See `Service`. */
export const execute =
  (key: string, options?: ExecuteOptions) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R | CircuitBreaker> =>
    Effect.flatMap(CircuitBreaker, (breaker) => breaker.execute(key, options)(self))

/** See `Service`. */
export const state = (of: Of) => Effect.flatMap(CircuitBreaker, (breaker) => breaker.state(of))

/** See `Service`. */
export const isolate = (of: Of) => Effect.flatMap(CircuitBreaker, (breaker) => breaker.isolate(of))

/** See `Service`. */
export const reset = (of: Of) => Effect.flatMap(CircuitBreaker, (breaker) => breaker.reset(of))

/** See `Service`. */
export const changes: Stream.Stream<CircuitBreakerStore.Transition, never, CircuitBreaker> = Stream.unwrap(
  Effect.map(CircuitBreaker, (breaker) => breaker.changes)
)
