import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { AiError } from "effect/ai"
import * as LlmError from "effect-ballast/LlmError"

const budget = new LlmError.BudgetExceeded({
  budget: "all",
  window: "day",
  limit: 10,
  remaining: 1,
  requested: 2,
  retryAfter: Duration.hours(3)
})

const error = (
  reason: LlmError.Reason,
  more: { readonly phase?: LlmError.Phase; readonly shouldRetry?: boolean } = {}
) => new LlmError.LlmError({ provider: "openai", model: "gpt", reason, ...more })

const network = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://a.example" })
const internal = new AiError.InternalProviderError({ description: "boom" })
const denied = (kind: AiError.AuthenticationError["kind"]) => new AiError.AuthenticationError({ kind })
const timedOut = (phase: LlmError.TimedOut["phase"]) => new LlmError.TimedOut({ phase, after: Duration.seconds(1) })
const interrupted = new LlmError.StreamInterrupted({
  interruptedBy: "NetworkError",
  delivered: [{ type: "text", text: "the-delivered-text" }]
})

describe("LlmError", () => {
  it.effect("is recovered by its reason", () =>
    Effect.gen(function* () {
      const recovered = yield* Effect.fail(error(budget)).pipe(
        Effect.catchReason("LlmError", "BudgetExceeded", (reason) => Effect.succeed(reason.window))
      )
      assert.strictEqual(recovered, "day")
    })
  )

  it("says who failed and why", () => {
    assert.strictEqual(error(budget).message, "openai/gpt: Daily budget exceeded (all). Retry after 3h")
  })

  it("survives JSON whole", () => {
    const codec = Schema.fromJsonString(Schema.toCodecJson(LlmError.LlmError))
    for (const reason of [budget, network, interrupted, timedOut("idle")]) {
      const decoded = Schema.decodeSync(codec)(Schema.encodeSync(codec)(error(reason, { phase: "answered" })))
      assert.deepStrictEqual(decoded.reason, reason)
      assert.strictEqual(decoded.phase, "answered")
    }
  })

  it("never prints the delivered text", () => {
    const printed = [
      inspect(error(interrupted), { depth: 9 }),
      JSON.stringify(error(interrupted)),
      String(error(interrupted))
    ]
    assert.notInclude(printed.join(), "the-delivered-text")
  })
})

describe("refuse", () => {
  it.effect("makes an error like any other, only without a stack", () =>
    Effect.gen(function* () {
      const refusal = LlmError.refuse("openai", "gpt", budget)
      assert.isTrue(LlmError.isLlmError(refusal))
      assert.strictEqual(refusal.stack, undefined)
      assert.strictEqual(refusal.phase, "refused")
      assert.deepStrictEqual(refusal.retryAfter, Duration.hours(3))
      const caught = yield* Effect.gen(function* () {
        return yield* refusal
      }).pipe(Effect.catchReason("LlmError", "BudgetExceeded", (reason) => Effect.succeed(reason)))
      assert.strictEqual(caught, budget)
      const codec = Schema.toCodecJson(LlmError.LlmError)
      assert.deepStrictEqual(Schema.decodeSync(codec)(Schema.encodeSync(codec)(refusal)).reason, budget)
    })
  )
})

describe("toAiError and fromAiError", () => {
  const where = { module: "LlmProvider", method: "generateText" }

  it.each<[LlmError.Reason, AiError.AiErrorReason["_tag"]]>([
    [new LlmError.CircuitOpen({ circuit: "c" }), "InternalProviderError"],
    [timedOut("total"), "InternalProviderError"],
    [new LlmError.StoreUnavailable({ store: "redis", operation: "reserve" }), "InternalProviderError"],
    [interrupted, "InternalProviderError"],
    [budget, "QuotaExhaustedError"],
    [new LlmError.Unpriced(), "QuotaExhaustedError"],
    [new LlmError.RateLimitExceeded({ limit: "rpm", why: "queue-full" }), "RateLimitError"],
    [new LlmError.InputRejected({ guard: "g", description: "d" }), "ContentPolicyError"],
    [new LlmError.OutputRejected({ guard: "g", description: "d", released: true }), "ContentPolicyError"],
    [new LlmError.ModelUnavailable({}), "InvalidRequestError"],
    [new LlmError.ContextOverflow({ limit: 8 }), "InvalidRequestError"],
    [internal, "InternalProviderError"],
    [network, "NetworkError"]
  ])("carries %s as %s and gives the very error back", (reason, tag) => {
    const original = error(reason, { phase: "sent" })
    const ai = LlmError.toAiError(original, where)
    assert.strictEqual(ai.reason._tag, tag)
    assert.strictEqual(LlmError.fromAiError(ai), original)
  })

  it.each<LlmError.Reason>([budget, new LlmError.CircuitOpen({ circuit: "c" }), internal, timedOut("firstPart")])(
    "gets %s back after the AiError went through JSON",
    (reason) => {
      const codec = Schema.fromJsonString(Schema.toCodecJson(AiError.AiError))
      const ai = Schema.decodeSync(codec)(Schema.encodeSync(codec)(LlmError.toAiError(error(reason), where)))
      const back = LlmError.fromAiError(ai)
      assert.strictEqual(back.provider, "openai")
      assert.deepStrictEqual(back.reason, reason)
    }
  )

  it("leaves the delivered text out of the AiError's JSON", () => {
    const ai = LlmError.toAiError(error(interrupted), where)
    assert.notInclude(JSON.stringify(ai) + inspect(ai, { depth: 9 }), "the-delivered-text")
  })

  it("takes an AiError that never was ours as it is", () => {
    const foreign = AiError.make({ module: "Other", method: "m", reason: internal })
    const taken = LlmError.fromAiError(foreign, { provider: "other", model: "x" })
    assert.strictEqual(taken.reason, internal)
    assert.strictEqual(taken.provider, "other")
  })
})

describe("consequence", () => {
  type Row = [
    name: string,
    error: LlmError.LlmError,
    retry: LlmError.Consequence["retry"],
    next: LlmError.Consequence["next"],
    circuit: LlmError.Consequence["circuit"],
    degrade: LlmError.Consequence["degrade"],
    charge: LlmError.Consequence["charge"]
  ]
  it.each<Row>([
    ["RateLimitError", error(new AiError.RateLimitError({})), "yes", "yes", "ignored", "yes", "none"],
    ["QuotaExhaustedError", error(new AiError.QuotaExhaustedError({})), "no", "yes", "credential", "yes", "none"],
    ["a bad key", error(denied("InvalidKey")), "no", "yes", "credential", "yes", "none"],
    ["an expired key", error(denied("ExpiredKey")), "no", "yes", "credential", "yes", "none"],
    ["a missing key", error(denied("MissingKey")), "no", "yes", "credential", "yes", "none"],
    ["403", error(denied("InsufficientPermissions")), "no", "yes", "endpoint", "yes", "none"],
    ["ModelUnavailable", error(new LlmError.ModelUnavailable({})), "no", "yes", "endpoint", "yes", "none"],
    ["ContextOverflow", error(new LlmError.ContextOverflow({})), "no", "larger-window", "ignored", "no", "none"],
    ["InvalidRequestError", error(new AiError.InvalidRequestError({})), "no", "no", "ignored", "no", "none"],
    [
      "ContentPolicyError",
      error(new AiError.ContentPolicyError({ description: "d" })),
      "no",
      "no",
      "ignored",
      "no",
      "actual"
    ],
    ["5xx before the answer", error(internal, { phase: "sent" }), "yes", "yes", "failure", "yes", "none"],
    ["an in-band error", error(internal, { phase: "answered" }), "yes", "yes", "failure", "yes", "lost"],
    ["no connection", error(network, { phase: "connecting" }), "yes", "yes", "failure", "yes", "none"],
    ["a lost connection", error(network, { phase: "sent" }), "lost", "yes", "failure", "yes", "lost"],
    ["TimedOut attempt", error(timedOut("attempt"), { phase: "sent" }), "lost", "yes", "failure", "yes", "lost"],
    ["TimedOut firstPart", error(timedOut("firstPart"), { phase: "sent" }), "lost", "yes", "failure", "yes", "lost"],
    ["TimedOut idle", error(timedOut("idle"), { phase: "answered" }), "lost", "yes", "failure", "yes", "lost"],
    ["TimedOut total", error(timedOut("total"), { phase: "sent" }), "no", "no", "slow", "no-model", "lost"],
    ["StreamInterrupted", error(interrupted, { phase: "answered" }), "no", "resume", "failure", "no", "lost"],
    [
      "InvalidOutputError",
      error(new AiError.InvalidOutputError({ description: "d" }), { phase: "answered" }),
      "no",
      "yes",
      "ignored",
      "yes",
      "actual"
    ],
    ["UnknownError", error(new AiError.UnknownError({}), { phase: "sent" }), "no", "yes", "failure", "yes", "lost"],
    [
      "an UnknownError before sending",
      error(new AiError.UnknownError({}), { phase: "connecting" }),
      "no",
      "yes",
      "failure",
      "yes",
      "none"
    ],
    [
      "InvalidResponseError",
      error(new AiError.InvalidResponseError({ description: "d" }), { phase: "answered" }),
      "no",
      "yes",
      "failure",
      "yes",
      "lost"
    ],
    ["CircuitOpen", error(new LlmError.CircuitOpen({ circuit: "c" })), "no", "yes", "ignored", "yes", "none"],
    [
      "RateLimitExceeded",
      error(new LlmError.RateLimitExceeded({ limit: "l", why: "limited" })),
      "no",
      "yes",
      "ignored",
      "yes",
      "none"
    ],
    [
      "StoreUnavailable",
      error(new LlmError.StoreUnavailable({ store: "s", operation: "o" })),
      "no",
      "yes",
      "ignored",
      "yes",
      "none"
    ],
    ["BudgetExceeded", error(budget), "no", "yes", "ignored", "free", "none"],
    ["Unpriced", error(new LlmError.Unpriced()), "no", "yes", "ignored", "free", "none"],
    [
      "InputRejected before sending",
      error(new LlmError.InputRejected({ guard: "g", description: "d" }), { phase: "refused" }),
      "no",
      "no",
      "ignored",
      "no",
      "none"
    ],
    [
      "OutputRejected",
      error(new LlmError.OutputRejected({ guard: "g", description: "d", released: false }), { phase: "answered" }),
      "no",
      "no",
      "ignored",
      "no",
      "actual"
    ]
  ])("of %s is as the table says", (_, failure, retry, next, circuit, degrade, charge) => {
    assert.deepStrictEqual(LlmError.consequence(failure), { retry, next, circuit, degrade, charge })
  })

  it("obeys the provider that says do not retry", () => {
    const said = LlmError.consequence(error(internal, { phase: "sent", shouldRetry: false }))
    assert.strictEqual(said.retry, "no")
    assert.strictEqual(said.next, "yes")
  })

  it("has a row for every reason", () => {
    for (const member of LlmError.Reason.members) {
      assert.property(LlmError.consequences, member.fields._tag.schema.literal)
    }
  })
})
