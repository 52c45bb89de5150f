/** Options any part of which may be read from `Config`; `Config.unwrap` takes neither plain leaves nor arrays. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"

/** `A`, where any part may be read from `Config` instead. */
export type Configurable<A> =
  | A
  | Config.Config<A>
  | (A extends Opaque
      ? never
      : A extends ReadonlyArray<infer E>
        ? ReadonlyArray<Configurable<E>>
        : { readonly [K in keyof A]: Configurable<A[K]> })

/** What is taken whole, never looked into. */
type Opaque =
  | string
  | number
  | bigint
  | boolean
  | symbol
  | null
  | undefined
  | ((...args: ReadonlyArray<never>) => unknown)
  | Duration.Duration
  | Redacted.Redacted<unknown>
  | Layer.Layer<never, unknown, unknown>
  | Effect.Effect<unknown, unknown, unknown>
  | Schedule.Schedule<unknown, never, unknown, unknown>

/** The options as one `Config`. */
export const config = <A>(input: Configurable<A>): Config.Config<A> => read(input) as Config.Config<A> // by the type's own recursion

const read = (input: unknown): Config.Config<unknown> => {
  if (Config.isConfig(input)) return input
  if (Array.isArray(input)) return Config.all(input.map(read))
  return isPlain(input)
    ? Config.all(Object.fromEntries(Object.entries(input).map(([key, value]) => [key, read(value)])))
    : Config.succeed(input)
}

const isPlain = (input: unknown): input is Record<string, unknown> =>
  typeof input === "object" && input !== null && Object.getPrototypeOf(input) === Object.prototype

/** Options that were read and can never work. */
const configError = (cause: unknown): Config.ConfigError =>
  new Config.ConfigError(
    new ConfigProvider.SourceError({ message: cause instanceof Error ? cause.message : String(cause) })
  )

/** What is made of the options; those that can never work are a `ConfigError`, too. */
export const configured = <A, S, E, R>(
  input: Configurable<A>,
  make: (options: A) => Effect.Effect<S, E, R>
): Effect.Effect<S, E | Config.ConfigError, R> =>
  Effect.flatMap(config(input), (options) =>
    Effect.flatten(Effect.try({ try: () => make(options), catch: configError }))
  )
