/** The data of receipts. */
import * as Schema from "effect/Schema"

const count = Schema.optional(Schema.Number)
const name = Schema.optional(Schema.String)

/** One question to one provider. Times are in milliseconds. */
export const Attempt = Schema.Struct({
  provider: Schema.String,
  model: Schema.String,
  startedAt: Schema.Number,
  /** At gates, before the provider was asked. */
  waited: Schema.Number,
  latency: Schema.Number,
  firstPart: count,
  /** `refused`: a gate kept it, and the provider was not asked. */
  outcome: Schema.Literals(["success", "failure", "truncated", "abandoned", "refused"]),
  /** The `_tag` of the reason of a failure. */
  reason: name,
  /** As charged, where there is a budget, otherwise as the provider counted. */
  inputTokens: count,
  outputTokens: count,
  /** Nano-USD that a budget charged, and that it had reserved; without one nobody knows. */
  cost: count,
  reserved: count,
  /** The loser of a race with another attempt. */
  lostRace: Schema.Boolean
})

/** What a guard did. */
export const Finding = Schema.Struct({
  guard: Schema.String,
  side: Schema.Literals(["input", "output"]),
  action: Schema.String,
  kind: name,
  mode: Schema.Literals(["enforce", "shadow"])
})

export const Receipt = Schema.Struct({
  /** `"none"`: nobody answered. */
  source: Schema.Literals(["provider", "cache", "semanticCache", "shared", "static", "none"]),
  /** Who answered; of a call that failed, who it was made to. */
  provider: Schema.String,
  model: Schema.String,
  startedAt: Schema.Number,
  /** Milliseconds from the call to its end, and to the first visible part of a stream. */
  latency: Schema.Number,
  firstPart: count,
  /** In the order in which they ended. One that goes on after the call, to learn what it used, comes later. */
  attempts: Schema.Array(Attempt),
  findings: Schema.Array(Finding),
  /** What the exact and the semantic cache did, where there is one. */
  cache: name,
  semanticCache: name
})
