/**
 * The metrics of the policies: labels with few values, never a tenant, a key or a prompt.
 */
import * as Metric from "effect/Metric"

/** Answers given without the shared store, by `store`. */
export const storeFallbacks = Metric.counter("ballast_store_fallbacks_total", {
  description: "Limits decided by this process alone, since a shared store did not answer",
  incremental: true
})

/** How long calls waited that were let through in the end. */
export const rateLimiterWait = Metric.histogram("llm_rate_limiter_wait_seconds", {
  description: "Time a call waited for its rate limits",
  boundaries: Metric.exponentialBoundaries({ start: 0.01, factor: 2, count: 15 })
})

/** Calls that wait now. */
export const rateLimiterQueue = Metric.gauge("llm_rate_limiter_queue", {
  description: "Calls that wait for their rate limits"
})

const refused = { description: "Calls refused by a rate limit", incremental: true } as const

/** Calls that were not let through, by `why`. */
export const rateLimiterRefused = Metric.counter("llm_rate_limiter_refused_total", refused)

/** The same for one reason: with its label from the start, a twentieth of the price. */
export const rateLimiterRefusedFor = (why: string) =>
  Metric.counter("llm_rate_limiter_refused_total", { ...refused, attributes: { why } })

/** Calls that a limit in shadow mode let through. */
export const rateLimiterShadow = Metric.counter("llm_rate_limiter_shadow_total", {
  description: "Calls that a rate limit would have held up if it were enforced",
  incremental: true
})

/** 0 closed, 1 half open, 2 open or isolated, by `provider` and `model`. */
export const circuitBreakerState = Metric.gauge("llm_circuit_breaker_state", {
  description: "State of an endpoint's circuit: 0 closed, 1 half open, 2 open"
})

/** Changes of circuits, by `provider`, `model` and `to`. */
export const circuitBreakerTransitions = Metric.counter("llm_circuit_breaker_transitions_total", {
  description: "Changes of the state of circuits",
  incremental: true
})

/** Calls that a circuit breaker in shadow mode let through. */
export const circuitBreakerShadow = Metric.counter("llm_circuit_breaker_shadow_total", {
  description: "Calls that a circuit breaker would have refused if it were enforced",
  incremental: true
})

/** What a limit of a budget that all share has spent in its window; with its label from the start, as those below. */
export const budgetSpent = (limit: string) =>
  Metric.gauge("llm_budget_spent_usd", {
    description: "Money spent in the running window of a budget, as far as this process knows",
    attributes: { limit }
  })

/** What is left of it. */
export const budgetRemaining = (limit: string) =>
  Metric.gauge("llm_budget_remaining_usd", {
    description: "Money left in the running window of a budget, as far as this process knows",
    attributes: { limit }
  })

/** Calls refused by a limit of a budget. */
export const budgetRefused = (limit: string) =>
  Metric.counter("llm_budget_refused_total", {
    description: "Calls refused by a budget",
    incremental: true,
    attributes: { limit }
  })

/** Calls that a budget in shadow mode let through. */
export const budgetShadow = (limit: string) =>
  Metric.counter("llm_budget_shadow_total", {
    description: "Calls that a budget would have refused if it were enforced",
    incremental: true,
    attributes: { limit }
  })

/** Entries of a cache that could not be read, and were deleted. */
export const cacheCorrupt = (store: string) =>
  Metric.counter("ballast_cache_corrupt_total", {
    description: "Entries of a cache that could not be read, and were deleted",
    incremental: true,
    attributes: { store }
  })

/** Calls that a cache has seen, by what became of them. */
export const cacheRequests = (result: string) =>
  Metric.counter("llm_cache_requests_total", {
    description: "Calls by what the cache did: hit, stale, shared with a call on its way, miss or bypass",
    incremental: true,
    attributes: { result }
  })

/** Questions that a cache's store did not answer. */
export const cacheErrors = Metric.counter("llm_cache_errors_total", {
  description: "Questions that the store of a cache did not answer, which were taken for a miss",
  incremental: true
})

/** Calls that a semantic cache has seen, by what became of them. */
export const semanticCacheRequests = (result: string) =>
  Metric.counter("llm_semantic_cache_requests_total", {
    description: "Calls by what the semantic cache did: hit, miss, gated (near, but of other facts), bypass or error",
    incremental: true,
    attributes: { result }
  })

/** Hits for which the model was asked as well, by whether it said the same. */
export const semanticCacheSampled = (agrees: string) =>
  Metric.counter("llm_semantic_cache_sampled_total", {
    description: "Hits of the semantic cache that were compared with a new answer, by whether both say the same",
    incremental: true,
    attributes: { agrees }
  })

const guardrails = new Map<string, Metric.Counter<number>>()

const guardrailOf = (name: string, description: string) => (guard: string, action: string) => {
  const known = guardrails.get(`${name}:${action}:${guard}`)
  if (known !== undefined) return known
  const made = Metric.counter(name, { description, incremental: true, attributes: { guard, action } })
  guardrails.set(`${name}:${action}:${guard}`, made)
  return made
}

/** What guards did: flag, redact, truncate, repair, block, or error where a check failed. */
export const guardrail = guardrailOf("llm_guardrail_total", "Findings of guards, by what was done about them")

/** What guards in shadow mode would have done. */
export const guardrailShadow = guardrailOf(
  "llm_guardrail_shadow_total",
  "Findings of guards in shadow mode, by what would have been done about them"
)
