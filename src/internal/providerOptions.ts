/** The options that every provider over HTTP has: their checks, and where each may come from a `Config`. */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { LlmError } from "../LlmError.ts"
import * as http from "./http.ts"
import { integer, positiveMillis } from "./options.ts"

/** What every provider over HTTP is told. */
export interface ProviderOptions {
  /** By the name that the provider has for it. Must not be empty. */
  readonly model: string
  /** An effect is run for each call, so that keys can rotate. */
  readonly apiKey: Redacted.Redacted | Effect.Effect<Redacted.Redacted, LlmError>
  /** Names the key in circuits. Default: a digest of the key, `"rotating"` where the key is an effect. */
  readonly credentialId?: string | undefined
  /** Where its API is, without query, fragment and credentials. */
  readonly baseUrl?: string | undefined
  /** Allows plain HTTP to other hosts than this one. Default `false`. */
  readonly allowInsecure?: boolean | undefined
  /** What the provider is called. Must not be empty. */
  readonly name?: string | undefined
  /** The longest wait for a whole answer or the next part of a stream: a backstop, finite. Default `"10 minutes"`. */
  readonly requestTimeout?: Duration.Input | undefined
  /** The longest answer accepted, in bytes. Default 8 MiB. */
  readonly maxAnswerBytes?: number | undefined
}

/** Throws a `RangeError` for options that can never work. */
export const settingsUnsafe = (
  owner: string,
  options: ProviderOptions & { readonly baseUrl: string; readonly name: string }
) => {
  const { apiKey, maxAnswerBytes = 8 * 1024 * 1024, model, name, requestTimeout = "10 minutes" } = options
  const check = (ok: boolean, rule: string) => {
    if (!ok) throw new RangeError(`${owner}: ${rule}`)
  }
  check(model.trim() !== "", "model must not be empty")
  check(name.trim() !== "", "name must not be empty")
  if (Redacted.isRedacted(apiKey)) checkSendable(`${owner}: apiKey`, Redacted.value(apiKey))
  const timeout = positiveMillis(`${owner}: requestTimeout`, requestTimeout)
  check(Number.isFinite(timeout), "requestTimeout must be finite")
  return {
    provider: name,
    model,
    apiKey,
    credential: options.credentialId ?? (Redacted.isRedacted(apiKey) ? http.credentialId(apiKey) : "rotating"),
    baseUrl: http.checkBaseUrl(owner, options.baseUrl, options.allowInsecure),
    requestTimeout: Duration.millis(timeout),
    maxAnswerBytes: integer(`${owner}: maxAnswerBytes`, maxAnswerBytes, 1)
  }
}

/** Anything else would be refused by `fetch`, with a message that shows it. */
export const isSendable = (value: string): boolean => /^[\x21-\x7e]+$/.test(value)

export const keyRule = "must not be empty and must hold nothing but visible ASCII characters"

export const checkSendable = (field: string, value: string): void => {
  if (!isSendable(value)) throw new RangeError(`${field} ${keyRule}`)
}

/** The same options, any of them as a `Config`; the key is read from the environment where it is not given. */
export type Configurable<A extends { readonly apiKey: unknown }> = {
  readonly [K in keyof Omit<A, "apiKey">]: A[K] | Config.Config<Exclude<A[K], undefined>>
} & { readonly apiKey?: A["apiKey"] | Config.Config<Redacted.Redacted> | undefined }

/**
 * What `make` makes of the configured options. Here everything that can never work is a `ConfigError`, since it was not
 * written in code.
 */
export const fromConfig = <A extends ProviderOptions, B>(
  options: Configurable<A>,
  variables: { readonly apiKey: string; readonly baseUrl: string },
  make: (options: A) => Effect.Effect<B>
): Effect.Effect<B, Config.ConfigError> => {
  const insecure = options.allowInsecure !== undefined && options.allowInsecure !== false
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const fields = Object.entries({
    apiKey: Config.mapEffect(Config.Redacted(variables.apiKey), (key) =>
      Effect.as(
        attempt(() => checkSendable(variables.apiKey, Redacted.value(key))),
        key
      )
    ),
    baseUrl: Config.mapEffect(Config.withDefault(Config.String(variables.baseUrl), ""), (url) =>
      attempt(() => (url === "" ? url : http.checkBaseUrl(variables.baseUrl, url, insecure).href))
    ),
    ...Object.fromEntries(given)
  }).map(([name, value]) => [name, Config.isConfig(value) ? value : Config.succeed(value)])
  // field by field what `Configurable` says
  const config = Config.all(Object.fromEntries(fields)) as Config.Config<A>
  return Effect.flatMap(config, (configured) => {
    const baseUrl = configured.baseUrl === "" ? undefined : configured.baseUrl // a variable set to nothing is not set
    return Effect.flatten(attempt(() => make({ ...configured, baseUrl })))
  })
}

const attempt = <A>(run: () => A): Effect.Effect<A, Config.ConfigError> =>
  Effect.try({
    try: run,
    catch: (cause) =>
      new Config.ConfigError(
        new ConfigProvider.SourceError({ message: cause instanceof Error ? cause.message : "the options are wrong" })
      )
  })
