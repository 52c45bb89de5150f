/**
 * The whole stack from one record of slots. The order of the policies is here and nowhere else; `docs/order.md` says why.
 *
 * A slot that is not named is not used, but for `timeouts`, which is always there, and `fallback`, which the list of
 * providers stands for. Two of these layers in one program provide the same service: give them to different parts of it.
 */
import * as Arr from "effect/Array"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Degrade from "./Degrade.ts"
import * as Fallback from "./Fallback.ts"
import * as Gate from "./Gate.ts"
import * as Hedge from "./Hedge.ts"
import { config, type Configurable } from "./internal/configurable.ts"
import { integer } from "./internal/options.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as Retry from "./Retry.ts"
import * as Timeouts from "./Timeouts.ts"

export interface Slots {
  /** How long a call, an attempt, the first part and a pause may take. Always there, with the defaults of `Timeouts`. */
  readonly timeouts?: Timeouts.Options | undefined
  /** What answers when no provider does. */
  readonly degrade?: Degrade.Options | undefined
  /** How the call moves along the providers, and what becomes of a stream that breaks. */
  readonly fallback?: Fallback.Options | undefined
  /** Starts the next provider when one is slow. Needs two providers; list one twice to hedge it with itself. */
  readonly hedge?: Hedge.Options | undefined
  /** Asks a provider again before the next one is asked. */
  readonly retry?: RetryOptions | undefined
  /** Gates of your own, once per attempt. */
  readonly gates?: ReadonlyArray<Gate.Gate> | undefined
}

export interface RetryOptions extends Retry.Options {
  /** Most retries at a provider that another one follows, instead of `times`. Default 1. */
  readonly timesBeforeFallback?: number | undefined
}

/** A layer that provides an `LlmProvider`, with whatever errors and needs. */
export type Provider = Layer.Layer<LlmProvider.LlmProvider, unknown, unknown>

export interface Options extends Slots {
  /** Asked in this order. */
  readonly providers: readonly [Provider, ...ReadonlyArray<Provider>]
}

/** Refuses fields that are not slots: a misspelled one must not be ignored. */
type Exact<O, Shape> = { readonly [K in Exclude<keyof O, keyof Shape>]: never }

type ErrorOf<O extends Pick<Options, "providers">> = Layer.Error<O["providers"][number]>
type ServicesOf<O extends Pick<Options, "providers">> = Layer.Services<O["providers"][number]>

/** From the outside in. What stands behind `fallback` is made once for each provider. */
export const order = ["deadline", "degrade", "fallback", "retry", "gates", "timeouts"] as const

/** The providers of the layers as one, behind the policies of the slots. Options that can never work throw `RangeError`. */
export const layer = <const O extends Options>(
  options: O & Exact<O, Options>
): Layer.Layer<LlmProvider.LlmProvider, ErrorOf<O>, ServicesOf<O>> => {
  const stack = make(options, options.providers.length)
  return Layer.effect(LlmProvider.LlmProvider, Effect.map(built(options.providers), stack)) as Layer.Layer<
    LlmProvider.LlmProvider,
    ErrorOf<O>,
    ServicesOf<O>
  > // a list of layers fails and needs what any of them does
}

/** The same record, where any part of a slot may be a `Config`; the providers stay layers. */
export const layerConfig = <
  const O extends { readonly [K in keyof Slots]?: Configurable<NonNullable<Slots[K]>> | undefined } & Pick<
    Options,
    "providers"
  >
>(
  options: O & Exact<O, Options>
): Layer.Layer<LlmProvider.LlmProvider, ErrorOf<O> | Config.ConfigError, ServicesOf<O>> => {
  const { providers, ...slots } = options as Pick<Options, "providers"> & Configurable<Slots> // what O extends
  const stack = Effect.flatMap(config<Slots>(slots), (read) =>
    Effect.try({ try: () => make(read, providers.length), catch: invalid })
  )
  return Layer.effect(
    LlmProvider.LlmProvider,
    Effect.flatMap(stack, (wrap) => Effect.map(built(providers), wrap))
  ) as Layer.Layer<LlmProvider.LlmProvider, ErrorOf<O> | Config.ConfigError, ServicesOf<O>> // as in `layer`
}

const built = (providers: Options["providers"]) => Effect.forEach(providers, LlmProvider.build)

const invalid = (cause: unknown) =>
  new Config.ConfigError(
    new ConfigProvider.SourceError({ message: cause instanceof Error ? cause.message : String(cause) })
  )

type Name = (typeof order)[number]

type Wrap = (inner: LlmProvider.Service) => LlmProvider.Service

/** The stack over services instead of layers, in the order above or, to try it out, in another one. */
export const make = (slots: Slots, providers: number, names: ReadonlyArray<Name> = order) => {
  const { hedge, retry, timeouts } = slots
  if (hedge !== undefined && providers < 2) {
    throw new RangeError(`Resilient.layer: hedge needs at least two providers, got ${providers}`)
  }
  const times = integer("Resilient.layer: retry.timesBeforeFallback", retry?.timesBeforeFallback ?? 1, 0)
  const wraps: Record<Exclude<Name, "fallback" | "retry">, Wrap> = {
    deadline: Timeouts.deadline(timeouts, retry?.maxAttempts),
    degrade: slots.degrade === undefined ? unchanged : Degrade.make(slots.degrade),
    gates: Gate.through(slots.gates ?? []),
    timeouts: Timeouts.make(timeouts)
  }
  const last = { ...wraps, retry: retry === undefined ? unchanged : Retry.make(retry) }
  const before = { ...wraps, retry: retry === undefined ? unchanged : Retry.make({ ...retry, times }) }
  const fallback = Fallback.make(
    { maxAttempts: retry?.maxAttempts, ...slots.fallback },
    hedge === undefined ? undefined : Hedge.race(hedge)
  )
  const split = names.indexOf("fallback")
  const wrap = (service: LlmProvider.Service, part: ReadonlyArray<Name>, wrappers: typeof last) =>
    part.reduceRight((inner, name) => (name === "fallback" ? inner : wrappers[name](inner)), service)
  return (services: Arr.NonEmptyReadonlyArray<LlmProvider.Service>): LlmProvider.Service => {
    const candidates = Arr.map(services, (service, i) =>
      wrap(service, names.slice(split + 1), i === services.length - 1 ? last : before)
    )
    return wrap(fallback(candidates), names.slice(0, split), last)
  }
}

const unchanged: Wrap = (inner) => inner
