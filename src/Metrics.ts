/**
 * The metrics of the policies: labels with few values, never a tenant, a key or a prompt. All of them are in `definitions`;
 * dashboards and alerts are checked against it.
 */
import * as Metric from "effect/Metric"

/** A metric as dashboards see it. */
export interface Definition {
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly labels: ReadonlyArray<string>
  readonly description: string
}

const of =
  (type: Definition["type"]) =>
  <const Name extends string>(name: Name, labels: ReadonlyArray<string>, description: string) => ({
    name,
    type,
    labels,
    description
  })
const counter = of("counter")
const gauge = of("gauge")
const histogram = of("histogram")

const who = ["provider", "model"]
const generation = ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"]

/** All of them, with what each counts or measures. */
export const definitions = [
  counter(
    "llm_requests_total",
    [...who, "status"],
    "Calls that ended, by success or error; retries are attempts of one"
  ),
  histogram(
    "llm_latency_seconds",
    who,
    "Time from a call to its whole answer or its failure; hits of a cache are apart"
  ),
  histogram("llm_time_to_first_token_seconds", who, "Time from a call to the first visible part of its stream"),
  histogram("llm_cache_latency_seconds", [], "Time from a call to its whole answer, where a cache gave it"),
  counter("llm_attempts_total", [...who, "outcome"], "Attempts at providers, by how they ended; refused is by a gate"),
  counter("llm_tokens_total", [...who, "type"], "Tokens of attempts, input and output, as charged"),
  counter("llm_cost_usd_total", who, "Money that a budget charged, as far as this process made the calls"),
  counter("llm_retries_total", who, "Attempts at the provider of the attempt before"),
  counter("llm_fallbacks_total", ["from", "to"], "Attempts at another provider than that of the attempt before"),
  counter("llm_degraded_total", ["rung"], "Calls for which something lesser stood in"),
  counter(
    "llm_cache_requests_total",
    ["result"],
    "Calls by what the cache did: hit, stale, shared with a call on its way, miss or bypass"
  ),
  counter(
    "llm_cache_errors_total",
    [],
    "Questions that the store of a cache did not answer, which were taken for a miss"
  ),
  counter(
    "llm_semantic_cache_requests_total",
    ["result"],
    "Calls by what the semantic cache did: hit, miss, gated (near, but of other facts), bypass or error"
  ),
  counter(
    "llm_semantic_cache_sampled_total",
    ["agrees"],
    "Hits of the semantic cache that were compared with a new answer, by whether both say the same"
  ),
  histogram("llm_rate_limiter_wait_seconds", [], "Time a call waited for its rate limits"),
  gauge("llm_rate_limiter_queue", [], "Calls that wait for their rate limits"),
  counter("llm_rate_limiter_refused_total", ["why"], "Calls refused by a rate limit"),
  counter("llm_rate_limiter_shadow_total", ["limit"], "Calls that a rate limit would have held up if it were enforced"),
  gauge("llm_circuit_breaker_state", who, "State of an endpoint's circuit: 0 closed, 1 half open, 2 open"),
  counter("llm_circuit_breaker_transitions_total", [...who, "to"], "Changes of the state of circuits"),
  counter(
    "llm_circuit_breaker_shadow_total",
    [],
    "Calls that a circuit breaker would have refused if it were enforced"
  ),
  gauge(
    "llm_budget_spent_usd",
    ["limit"],
    "Money spent in the running window of a budget, as far as this process knows"
  ),
  gauge(
    "llm_budget_remaining_usd",
    ["limit"],
    "Money left in the running window of a budget, as far as this process knows"
  ),
  counter("llm_budget_refused_total", ["limit"], "Calls refused by a budget"),
  counter("llm_budget_shadow_total", ["limit"], "Calls that a budget would have refused if it were enforced"),
  counter("llm_guardrail_total", ["guard", "action"], "Findings of guards, by what was done about them"),
  counter(
    "llm_guardrail_shadow_total",
    ["guard", "action"],
    "Findings of guards in shadow mode, by what would have been done about them"
  ),
  counter(
    "ballast_store_fallbacks_total",
    ["store"],
    "Limits decided by this process alone, since a shared store did not answer"
  ),
  counter("ballast_cache_corrupt_total", ["store"], "Entries of a cache that could not be read, and were deleted"),
  histogram("gen_ai.client.operation.duration", [...generation, "error.type"], "GenAI operation duration"),
  histogram("gen_ai.client.token.usage", [...generation, "gen_ai.token.type"], "Number of input and output tokens used")
] as const satisfies ReadonlyArray<Definition>

type Name = (typeof definitions)[number]["name"]
type Labels = Readonly<Record<string, string>>

const described = (name: Name, attributes?: Labels) => {
  const description = definitions.find((one) => one.name === name)?.description
  return { description, ...(attributes === undefined ? {} : { attributes }) }
}
const counts = (name: Name, attributes?: Labels) =>
  Metric.counter(name, { ...described(name, attributes), incremental: true })
const shows = (name: Name, attributes?: Labels) => Metric.gauge(name, described(name, attributes))
const times = (name: Name, boundaries: ReadonlyArray<number>, attributes?: Labels) =>
  Metric.histogram(name, { ...described(name, attributes), boundaries })

/** From 10 ms, doubling, to 11 minutes. */
export const latencyBoundaries = Metric.exponentialBoundaries({ start: 0.01, factor: 2, count: 17 })
/** Of tokens: 1 to 67,108,864 by factors of 4, as OpenTelemetry advises. */
export const tokenBoundaries = Metric.exponentialBoundaries({ start: 1, factor: 4, count: 14 })

/** Answers given without the shared store, by `store`. */
export const storeFallbacks = counts("ballast_store_fallbacks_total")

/** How long calls waited that were let through in the end. */
export const rateLimiterWait = times(
  "llm_rate_limiter_wait_seconds",
  Metric.exponentialBoundaries({ start: 0.01, factor: 2, count: 15 })
)

/** Calls that wait now. */
export const rateLimiterQueue = shows("llm_rate_limiter_queue")

/** Calls that were not let through, by `why`. */
export const rateLimiterRefused = counts("llm_rate_limiter_refused_total")

/** The same for one reason: with its label from the start, a twentieth of the price, as those below. */
export const rateLimiterRefusedFor = (why: string) => counts("llm_rate_limiter_refused_total", { why })

/** Calls that a limit in shadow mode let through. */
export const rateLimiterShadow = counts("llm_rate_limiter_shadow_total")

/** 0 closed, 1 half open, 2 open or isolated, by `provider` and `model`. */
export const circuitBreakerState = shows("llm_circuit_breaker_state")

/** Changes of circuits, by `provider`, `model` and `to`. */
export const circuitBreakerTransitions = counts("llm_circuit_breaker_transitions_total")

/** Calls that a circuit breaker in shadow mode let through. */
export const circuitBreakerShadow = counts("llm_circuit_breaker_shadow_total")

/** What a limit of a budget that all share has spent in its window. */
export const budgetSpent = (limit: string) => shows("llm_budget_spent_usd", { limit })

/** What is left of it. */
export const budgetRemaining = (limit: string) => shows("llm_budget_remaining_usd", { limit })

/** Calls refused by a limit of a budget. */
export const budgetRefused = (limit: string) => counts("llm_budget_refused_total", { limit })

/** Calls that a budget in shadow mode let through. */
export const budgetShadow = (limit: string) => counts("llm_budget_shadow_total", { limit })

/** Entries of a cache that could not be read, and were deleted. */
export const cacheCorrupt = (store: string) => counts("ballast_cache_corrupt_total", { store })

/** Calls that a cache has seen, by what became of them. */
export const cacheRequests = (result: string) => counts("llm_cache_requests_total", { result })

/** Questions that a cache's store did not answer. */
export const cacheErrors = counts("llm_cache_errors_total")

/** Calls that a semantic cache has seen, by what became of them. */
export const semanticCacheRequests = (result: string) => counts("llm_semantic_cache_requests_total", { result })

/** Hits for which the model was asked as well, by whether it said the same. */
export const semanticCacheSampled = (agrees: string) => counts("llm_semantic_cache_sampled_total", { agrees })

/** Made once for every pair of labels; there are as many as guards and actions. */
const paired = (name: Name) => {
  const known = new Map<string, Metric.Counter<number>>()
  return (guard: string, action: string): Metric.Counter<number> => {
    const key = `${action}:${guard}`
    const metric = known.get(key) ?? counts(name, { guard, action })
    known.set(key, metric)
    return metric
  }
}

/** What guards did: flag, redact, truncate, repair, block, or error where a check failed. */
export const guardrail = paired("llm_guardrail_total")

/** What guards in shadow mode would have done. */
export const guardrailShadow = paired("llm_guardrail_shadow_total")

/** Time of answers from caches. */
export const cacheLatency = times("llm_cache_latency_seconds", latencyBoundaries)

/** Calls for which something lesser stood in. */
export const degraded = (rung: string) => counts("llm_degraded_total", { rung })

/** Attempts that went from one provider to another. */
export const fallbacks = (from: string, to: string) => counts("llm_fallbacks_total", { from, to })

/** What is counted of one provider and model. */
export const ofModel = (provider: string, model: string) => {
  const labels = { provider, model }
  const gen = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model }
  const usage = (type: string) =>
    times("gen_ai.client.token.usage", tokenBoundaries, { ...gen, unit: "{token}", "gen_ai.token.type": type })
  return {
    success: counts("llm_requests_total", { ...labels, status: "success" }),
    error: counts("llm_requests_total", { ...labels, status: "error" }),
    latency: times("llm_latency_seconds", latencyBoundaries, labels),
    firstToken: times("llm_time_to_first_token_seconds", latencyBoundaries, labels),
    inputTokens: counts("llm_tokens_total", { ...labels, type: "input" }),
    outputTokens: counts("llm_tokens_total", { ...labels, type: "output" }),
    cost: counts("llm_cost_usd_total", labels),
    retries: counts("llm_retries_total", labels),
    /** By how they ended, as `Gate.Settlement` says. */
    attempts: (outcome: string) => counts("llm_attempts_total", { ...labels, outcome }),
    /** Seconds, by the reason of a failure or else its outcome; `undefined` for an answer. */
    duration: (errorType: string | undefined) =>
      times("gen_ai.client.operation.duration", latencyBoundaries, {
        ...gen,
        unit: "s",
        ...(errorType === undefined ? {} : { "error.type": errorType })
      }),
    inputUsage: usage("input"),
    outputUsage: usage("output")
  }
}
