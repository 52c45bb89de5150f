/** One call to a provider over HTTP: a key per call, a bound in time, aborted on interruption. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import { LlmError, type Phase, type Reason, TimedOut } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { asyncStream } from "./abortable.ts"
import type { Call } from "./callErrors.ts"
import { isSendable, keyRule } from "./providerOptions.ts"

export interface Settings {
  readonly provider: string
  readonly model: string
  readonly apiKey: Redacted.Redacted | Effect.Effect<Redacted.Redacted, LlmError>
  readonly requestTimeout: Duration.Duration
  /** For errors only. */
  readonly url: string
  /** What a rejection means. */
  readonly toLlmError: (cause: unknown, call: Call) => LlmError
}

export interface Connection {
  readonly refuse: (reason: Reason) => LlmError
  /** Fails with `TimedOut` after `requestTimeout`. */
  readonly call: <A>(
    request: LlmRequest,
    run: (key: string, signal: AbortSignal) => Promise<A>
  ) => Effect.Effect<A, LlmError>
  /** `requestTimeout` is the longest time between two elements. */
  readonly stream: <A>(
    request: LlmRequest,
    run: (key: string, signal: AbortSignal) => AsyncIterable<A>
  ) => Stream.Stream<A, LlmError>
}

export const make = (settings: Settings): Connection => {
  const { model, provider, requestTimeout, toLlmError, url } = settings
  const failWith = (reason: Reason, phase: Phase) => new LlmError({ provider, model, reason, phase })
  const refuse = (reason: Reason) => failWith(reason, "refused")
  const timedOut = (phase: "attempt" | "idle", reached: Phase) =>
    failWith(new TimedOut({ phase, after: requestTimeout }), reached)
  const within = (reached: Phase) =>
    Effect.timeoutOrElse({
      duration: requestTimeout,
      orElse: () => Effect.fail(timedOut("attempt", reached))
    })
  const apiKey = Redacted.isRedacted(settings.apiKey)
    ? Effect.succeed(settings.apiKey)
    : within("refused")(settings.apiKey)

  /** The key, and what a rejection means. */
  const prepared = (request: LlmRequest) =>
    Effect.flatMap(apiKey, (redacted) => {
      const key = Redacted.value(redacted)
      if (!isSendable(key)) {
        const kind = key === "" ? "MissingKey" : "InvalidKey"
        return Effect.fail(refuse(new AiError.AuthenticationError({ kind, description: `The key ${keyRule}` })))
      }
      return Effect.map(Clock.Clock, (clock) => ({
        key,
        catch: (cause: unknown) =>
          toLlmError(cause, { provider, model, url, request, key, now: clock.currentTimeMillisUnsafe() })
      }))
    })

  return {
    refuse,
    call: (request, run) =>
      Effect.flatMap(prepared(request), (call) =>
        within("sent")(Effect.tryPromise({ try: (signal) => run(call.key, signal), catch: call.catch }))
      ),
    stream: (request, run) =>
      Stream.unwrap(
        Effect.map(prepared(request), (call) =>
          asyncStream({
            open: (signal) => Promise.resolve(run(call.key, signal)),
            catch: call.catch,
            idle: requestTimeout,
            onIdle: () => timedOut("idle", "sent")
          })
        )
      )
  }
}
