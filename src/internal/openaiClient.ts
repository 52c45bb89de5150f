/** The `openai` client behind the providers: a key per call, bounds in time and size, aborted on interruption. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import type { OpenAI } from "openai"
import { LlmError, type Phase, type Reason, TimedOut } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { Options } from "../OpenAi.ts"
import { asyncStream } from "./abortable.ts"
import * as http from "./http.ts"
import { toLlmError } from "./openaiErrors.ts"

export interface Settings {
  readonly provider: string
  readonly model: string
  readonly endpoint: string
  readonly credential: string
  readonly apiKey: Options["apiKey"]
  readonly baseUrl: URL
  readonly organization: string | null
  readonly project: string | null
  readonly requestTimeout: Duration.Duration
  readonly maxAnswerBytes: number
}

/** Options that can never work throw a `RangeError` which begins with `owner`. */
export const settingsUnsafe = (owner: string, options: Options): Settings => {
  const { apiKey, maxAnswerBytes = 8 * 1024 * 1024, model, name = "openai", organization, project } = options
  const check = (ok: boolean, rule: string) => {
    if (!ok) throw new RangeError(`${owner}: ${rule}`)
  }
  check(model.trim() !== "", "model must not be empty")
  check(name.trim() !== "", "name must not be empty")
  check(!Redacted.isRedacted(apiKey) || isSendable(Redacted.value(apiKey)), `apiKey ${keyRule}`)
  check(organization === undefined || isSendable(organization), `organization ${keyRule}`)
  check(project === undefined || isSendable(project), `project ${keyRule}`)
  check(
    Number.isSafeInteger(maxAnswerBytes) && maxAnswerBytes >= 1,
    `maxAnswerBytes must be an integer >= 1, got ${maxAnswerBytes}`
  )
  const baseUrl = http.checkBaseUrl(owner, options.baseUrl ?? "https://api.openai.com/v1", options.allowInsecure)
  return {
    provider: name,
    model,
    endpoint: http.endpointId("openai", baseUrl, [organization, project], model),
    credential: options.credentialId ?? (Redacted.isRedacted(apiKey) ? http.credentialId(apiKey) : "rotating"),
    apiKey,
    baseUrl,
    organization: organization ?? null,
    project: project ?? null,
    requestTimeout: timeoutUnsafe(owner, options.requestTimeout ?? "10 minutes"),
    maxAnswerBytes
  }
}

/** Anything else would be refused by `fetch`, with a message that shows it. */
export const isSendable = (value: string): boolean => /^[\x21-\x7e]+$/.test(value)

export const keyRule = "must not be empty and must hold nothing but visible ASCII characters"

const timeoutUnsafe = (owner: string, input: Duration.Input): Duration.Duration => {
  const timeout = Duration.fromInput(input)
  const millis = timeout._tag === "Some" ? Duration.toMillis(timeout.value) : Number.NaN
  if (millis > 0 && Number.isFinite(millis)) return Duration.millis(millis)
  throw new RangeError(`${owner}: requestTimeout must be a finite duration above zero`)
}

export interface Connection {
  /** Runs one call: fails with `TimedOut` after `requestTimeout`, with what `fail` makes of a rejection before. */
  readonly call: <A>(request: LlmRequest, run: Run<A>) => Effect.Effect<A, LlmError>
  /** The same over an iterable; `requestTimeout` is the longest time between two elements. */
  readonly stream: <A>(request: LlmRequest, run: (...args: RunArgs) => AsyncIterable<A>) => Stream.Stream<A, LlmError>
  readonly refuse: (reason: Reason) => LlmError
}

type RunArgs = [client: OpenAI, options: OpenAI.RequestOptions]

type Run<A> = (...args: RunArgs) => Promise<A>

/** `path` is for errors only. Dies when the package is not installed. */
export const connect = (settings: Settings, path: string): Effect.Effect<Connection> =>
  Effect.map(makeClient(settings), (client) => {
    const { apiKey, model, organization, project, provider, requestTimeout } = settings
    const failWith = (reason: Reason, phase: Phase) => new LlmError({ provider, model, reason, phase })
    const refuse = (reason: Reason) => failWith(reason, "refused")
    const timedOut = (phase: "attempt" | "idle", reached: Phase) =>
      failWith(new TimedOut({ phase, after: requestTimeout }), reached)

    const url = `${settings.baseUrl.origin}${settings.baseUrl.pathname.replace(/\/$/, "")}${path}`
    const readKey = Effect.flatMap(Redacted.isRedacted(apiKey) ? Effect.succeed(apiKey) : apiKey, (redacted) => {
      const key = Redacted.value(redacted)
      if (isSendable(key)) return Effect.succeed(key)
      const kind = key === "" ? "MissingKey" : "InvalidKey"
      return Effect.fail(refuse(new AiError.AuthenticationError({ kind, description: `The key ${keyRule}` })))
    }).pipe(
      Effect.timeoutOrElse({ duration: requestTimeout, orElse: () => Effect.fail(timedOut("attempt", "refused")) })
    )

    const prepared = (request: LlmRequest) =>
      Effect.flatMap(Clock.Clock, (clock) =>
        Effect.map(readKey, (key) => ({
          catch: (cause: unknown) =>
            toLlmError(cause, { provider, model, url, request, key, now: clock.currentTimeMillisUnsafe() }),
          options: (signal: AbortSignal): OpenAI.RequestOptions => ({
            signal,
            // stated for each call, so that headers from the environment cannot change who is asked
            headers: { authorization: `Bearer ${key}`, "openai-organization": organization, "openai-project": project }
          })
        }))
      )

    return {
      refuse,
      call: (request, run) =>
        Effect.flatMap(prepared(request), (call) =>
          Effect.tryPromise({ try: (signal) => run(client, call.options(signal)), catch: call.catch }).pipe(
            Effect.timeoutOrElse({ duration: requestTimeout, orElse: () => Effect.fail(timedOut("attempt", "sent")) })
          )
        ),
      stream: (request, run) =>
        Stream.unwrap(
          Effect.map(prepared(request), (call) =>
            asyncStream({
              open: (signal) => Promise.resolve(run(client, call.options(signal))),
              catch: call.catch,
              idle: requestTimeout,
              onIdle: () => timedOut("idle", "sent")
            })
          )
        )
    }
  })

const makeClient = (settings: Settings): Effect.Effect<OpenAI> =>
  Effect.tryPromise({
    try: () => import("openai"),
    catch: (cause) => new Error("OpenAi needs the package openai: npm install openai", { cause })
  }).pipe(
    Effect.map(
      ({ OpenAI }) =>
        // all that the package would otherwise read from the environment is stated; retries and timeouts are ours
        new OpenAI({
          apiKey: "stated-per-call",
          adminAPIKey: null,
          organization: settings.organization,
          project: settings.project,
          webhookSecret: null,
          baseURL: settings.baseUrl.href,
          maxRetries: 0,
          timeout: 2 ** 31 - 1,
          logLevel: "off",
          fetch: http.boundedFetch(settings.maxAnswerBytes)
        })
    ),
    Effect.orDie
  )
