/**
 * What looks at requests before they are sent and at answers before they are given out: a name, the checks, and what happens
 * when a check itself fails.
 *
 * A check says what is to be done, never why in the words of the text: descriptions end up in errors and logs. Its fingerprint
 * tells its rules apart: answers that were kept under other rules are not given again.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Response from "effect/ai/Response"
import type { GuardedText } from "./internal/guardTexts.ts"
import { positiveMillis } from "./internal/options.ts"
import type { Compiled } from "./internal/redactor.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import type { LlmResponse } from "./LlmResponse.ts"

export { canary, denyList, sensitive, type SensitiveKind } from "./internal/guardScans.ts"
export { maxLength, promptInjection } from "./internal/guardInputs.ts"
export { jsonSchema, schema, toolCall } from "./internal/guardSchemas.ts"
export { block, flag, pass } from "./internal/verdicts.ts"
export { type GuardedText, type Origin } from "./internal/guardTexts.ts"

/** A guard as `Guardrails` runs it. */
export interface Guard {
  /** In metrics, events and errors. */
  readonly name: string
  /** Of its rules, mode and scope: answers that other rules let pass are not given again from a cache. */
  readonly fingerprint: string
  /** `"caller"`: what it says depends on the `Caller`. Its answers are kept for one user of one tenant alone. */
  readonly scope: "all" | "caller"
  /** `"shadow"`: what it would do is counted and told, and not done; streams are not held back. Its checks are waited for. */
  readonly mode: "enforce" | "shadow"
  /** What becomes of a call whose check fails or takes longer than `timeout`. */
  readonly onError: "block" | "pass"
  /** Most time that a check may take. */
  readonly timeout: Duration.Duration
  /** Of every request, before anything is asked or found in a cache. */
  readonly input?: ((input: Input) => Checked<InputVerdict>) | undefined
  /** Of the whole answer. In a stream nothing is given out before it. `undefined` where the request is none of its business. */
  readonly output?: ((request: LlmRequest) => ((output: Output) => Checked<OutputVerdict>) | undefined) | undefined
  /** Of every call of a tool, before anything of it is given out. */
  readonly toolCall?: ((call: Response.ToolCallPartEncoded, request: LlmRequest) => Checked<Verdict>) | undefined
  /** Looks through every text of an answer while it comes. */
  readonly scan?: ((request: LlmRequest) => Compiled) | undefined
}

/** Answered at once, or by an effect, which may fail. */
export type Checked<A> = A | Effect.Effect<A, unknown>

/** A request, as the guards before this one left it. */
export interface Input {
  readonly request: LlmRequest
  /** What users, documents and tools say in it: never the system message, nor what the model said before. */
  readonly texts: ReadonlyArray<GuardedText>
}

/** A whole answer and what was asked. */
export interface Output {
  readonly request: LlmRequest
  /** As the guards before this one left it. */
  readonly response: LlmResponse
}

/** `kinds` and `description` must hold nothing of the text: they are logged. */
export type Verdict =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Flag"; readonly kinds: ReadonlyArray<string> }
  | { readonly _tag: "Block"; readonly description: string }

/** Something else in its place: goes on to the next guard. */
export interface Replace<A> {
  readonly _tag: "Replace"
  readonly action: "redact" | "truncate"
  readonly kinds: ReadonlyArray<string>
  readonly by: A
}

/** The answer has the wrong form; `ask` tells the model what to do better, if it is to be asked once more. */
export interface Invalid {
  readonly _tag: "Invalid"
  readonly description: string
  readonly ask?: string | undefined
}

/** What a check says of a request. */
export type InputVerdict = Verdict | Replace<LlmRequest>

/** What a check says of an answer. */
export type OutputVerdict = Verdict | Replace<LlmResponse> | Invalid

/** What the guards of Ballast and those of your own have in common. */
export interface Common {
  /** `"shadow"`: what it would do is counted and told, and not done. Default `"enforce"`. */
  readonly mode?: "enforce" | "shadow" | undefined
  /** What becomes of a call whose check fails or takes too long. Default `"block"`. */
  readonly onError?: "block" | "pass" | undefined
}

/** A guard of your own: at least one of `input`, `output` and `toolCall`. */
export interface Options extends Common {
  /** In metrics, events and errors, so not empty; no two guards of a slot have the same. */
  readonly name: string
  /** Of its rules; another one is another guard to the caches. A moderation model's name for one. Must not be empty. */
  readonly version: string
  /** `"caller"` where what it says depends on the `Caller`: see `Guard`. Default `"all"`. */
  readonly scope?: "all" | "caller" | undefined
  /** Most time that a check may take, above zero. Default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** Looks at every request. Default: requests are not looked at. */
  readonly input?: Guard["input"]
  /** Looks at every whole answer; a stream waits for its end. Default: answers are not looked at. */
  readonly output?: ((output: Output) => Checked<OutputVerdict>) | undefined
  /** Looks at every call of a tool, before anything of it is given out. Default: they are not looked at. */
  readonly toolCall?: Guard["toolCall"]
}

/**
 * A guard of your own. A check that throws, fails, or takes longer than `timeout` blocks the call unless `onError` is
 * `"pass"`; interruption is passed on to it. Throws `RangeError` for no check, an empty name or version, or a timeout that is
 * not above zero.
 */
export const make = (options: Options): Guard => {
  const { input, mode = "enforce", name, onError = "block", output, scope = "all", toolCall, version } = options
  if (name === "") throw new RangeError("Guard.make: name must not be empty")
  if (version === "") throw new RangeError("Guard.make: version must not be empty")
  if (input === undefined && output === undefined && toolCall === undefined) {
    throw new RangeError("Guard.make: one of input, output and toolCall must be given")
  }
  const timeout = Duration.millis(positiveMillis("Guard.make: timeout", options.timeout ?? "2 seconds"))
  const fingerprint = JSON.stringify([name, version, mode, scope])
  return { name, fingerprint, scope, mode, onError, timeout, input, output: output && (() => output), toolCall }
}
