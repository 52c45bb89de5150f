/** Ballast's own reasons for a failed call; a provider's reasons are those of `effect/ai`. They carry facts, no content. */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"

/** The model does not exist for this key, or is gone. */
export class ModelUnavailable extends Schema.TaggedError<ModelUnavailable>()("ModelUnavailable", {
  description: Schema.optional(Schema.String)
}) {
  override get message(): string {
    return `The model is not available. ${this.description ?? "Check its name and the access of the key."}`
  }
}

/** The request does not fit the model's context window. */
export class ContextOverflow extends Schema.TaggedError<ContextOverflow>()("ContextOverflow", {
  /** The window in tokens, where the provider told it. */
  limit: Schema.optional(Schema.Int),
  description: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const window =
      this.limit === undefined ? "the model's context window" : `the context window of ${this.limit} tokens`
    return `The request does not fit ${window}. Shorten the prompt or use a model with a larger window.`
  }
}

/** A circuit breaker kept the call from a provider that is known to be failing. */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>()("CircuitOpen", {
  circuit: Schema.String,
  /** What opened it; absent while it lets only some calls go, right after it closed. */
  openedBy: Schema.optional(Schema.Literals(["failures", "slow", "credential", "quota", "unavailable", "isolated"])),
  retryAfter: Schema.optional(Schema.Duration)
}) {
  override get message(): string {
    const why = this.openedBy === undefined ? "" : ` (${openings[this.openedBy]})`
    return `Circuit ${this.circuit} is open${why}${later(this.retryAfter)}`
  }
}

const openings = {
  failures: "too many failures",
  slow: "too many slow calls",
  credential: "the key was refused: check it",
  quota: "the quota is used up: check plan and billing",
  unavailable: "the model or the permission to use it is missing",
  isolated: "isolated by hand"
} as const

/** Our own limiter refused; the provider was not asked. */
export class RateLimitExceeded extends Schema.TaggedError<RateLimitExceeded>()("RateLimitExceeded", {
  limit: Schema.String,
  why: Schema.Literals(["limited", "queue-full", "wait-too-long", "larger-than-limit"]),
  retryAfter: Schema.optional(Schema.Duration)
}) {
  override get message(): string {
    return `Rate limit ${this.limit} refused the call (${this.why})${later(this.retryAfter)}`
  }
}

/** The call would not fit the budget. Amounts are integers of nano-USD. */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  budget: Schema.String,
  window: Schema.Literals(["hour", "day", "week", "month", "rolling", "run"]),
  limit: Schema.Int,
  remaining: Schema.Int,
  requested: Schema.Int,
  /** No other provider is asked, whatever it costs. */
  final: Schema.optional(Schema.Boolean),
  retryAfter: Schema.optional(Schema.Duration)
}) {
  override get message(): string {
    return `${windowNames[this.window]} budget exceeded (${this.budget})${later(this.retryAfter)}`
  }
}

const windowNames = {
  hour: "Hourly",
  day: "Daily",
  week: "Weekly",
  month: "Monthly",
  rolling: "Rolling",
  run: "Run"
} as const

/** There is no price for the model, so a budget cannot admit it. */
export class Unpriced extends Schema.TaggedError<Unpriced>()("Unpriced", {}) {
  override get message(): string {
    return "No price is known for the model: give one with Pricing.layerTable, or a default price"
  }
}

/** A guard refused the prompt. */
export class InputRejected extends Schema.TaggedError<InputRejected>()("InputRejected", {
  guard: Schema.String,
  description: Schema.String
}) {
  override get message(): string {
    return `Guard ${this.guard} rejected the input: ${this.description}`
  }
}

/** A guard refused the answer. `released`: text before it had already been passed on. */
export class OutputRejected extends Schema.TaggedError<OutputRejected>()("OutputRejected", {
  guard: Schema.String,
  description: Schema.String,
  released: Schema.Boolean
}) {
  override get message(): string {
    const note = this.released ? " (earlier text of this stream was already released)" : ""
    return `Guard ${this.guard} rejected the output: ${this.description}${note}`
  }
}

/** The call took too long: as a whole, one attempt, until the first visible part, or between two parts. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", {
  phase: Schema.Literals(["total", "attempt", "firstPart", "idle"]),
  after: Schema.Duration
}) {
  override get message(): string {
    return `Timed out (${this.phase}) after ${Duration.format(this.after)}`
  }
}

/** Encoded parts are JSON, and are taken as they are: their own codec would complete them. */
const part = Schema.Json as unknown as Schema.Codec<Response.PartEncoded> // no part holds anything else

/** The stream broke after its first visible part; what was delivered by then is here and nowhere else. */
export class StreamInterrupted extends Schema.TaggedError<StreamInterrupted>()("StreamInterrupted", {
  /** The `_tag` of the reason that broke it. */
  interruptedBy: Schema.String,
  delivered: Schema.Array(part)
}) {
  override get message(): string {
    return `The stream was interrupted by ${this.interruptedBy} after ${this.delivered.length} parts of the answer`
  }

  /** Without the delivered text, since errors are logged; the Schema codec keeps it. */
  override toJSON(): unknown {
    return { _tag: this._tag, interruptedBy: this.interruptedBy, deliveredParts: this.delivered.length }
  }
}

/** A store that the call needs did not answer. */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", {
  store: Schema.String,
  operation: Schema.String,
  description: Schema.optional(Schema.String),
  /** It did answer, and cannot do what it was asked for: other questions may well be answered. */
  answered: Schema.optional(Schema.Boolean)
}) {
  override get message(): string {
    const detail = this.description === undefined ? "" : `: ${this.description}`
    return `Store ${this.store} is unavailable (${this.operation})${detail}`
  }
}

const later = (retryAfter: Duration.Duration | undefined) =>
  retryAfter === undefined ? "" : `. Retry after ${Duration.format(retryAfter)}`

/** Every reason a call can fail for. */
export const Reason = Schema.Union([
  ...AiError.AiErrorReason.members,
  ModelUnavailable,
  ContextOverflow,
  CircuitOpen,
  RateLimitExceeded,
  BudgetExceeded,
  Unpriced,
  InputRejected,
  OutputRejected,
  TimedOut,
  StreamInterrupted,
  StoreUnavailable
])

export type Reason = typeof Reason.Type
