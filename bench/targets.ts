/**
 * What the project set out to reach, as ratios of medians in one run, and where a run is looked up for it. Each row has the
 * sentence that stands in the report when it is not met.
 */

/** How a figure is written; only of `faster` is more better. */
export type Unit = "faster" | "times" | "part" | "kilobytes" | "round trips" | "growing"

/** Cases are named as in their suite. */
export type Figure =
  /** One median over another; of several, the least one. `without` is taken from both. */
  | {
      readonly suite: string
      readonly over: string | ReadonlyArray<string>
      readonly under: string
      readonly without?: string
    }
  /** Garbage of one case. */
  | { readonly suite: string; readonly bytesOf: string }
  /** A number that is counted, not timed. */
  | { readonly counted: "admit" | "settle" | "growing keys" | "growing calls" }

export interface Target {
  /** That of the row in the design, and a letter where the row has several. */
  readonly id: string
  readonly what: string
  readonly must: number
  readonly stretch: number
  readonly unit: Unit
  readonly figure: Figure
  /** Why it would not be met, and what would be needed: one sentence. */
  readonly whyNot: string
}

const breakers = "A closed circuit, success, in a fiber"
const acquire = "Acquire, not limited, 10,000 keys"
const hit = "A cache hit, a fresh request of 2 KB, its key included"
const hits = "A cache hit, two thousand prompts of 2 KB in turn, their keys included"
const grown = "The key of a conversation of 200 KB with a new message of 2 KB"
const retry = "Retry on success (what it adds to a call that answers on the spot, in a fiber)"
const miss = "The whole way of a call that no cache has seen, 2 KB, guards off"
const stack =
  "The stack on success (deadline, degrade, fallback, retry, gates, timeouts; a call that answers by a promise)"
const stream = "A stream of 50 deltas of 20 characters, read to its end"

export const targets: ReadonlyArray<Target> = [
  {
    id: "1",
    what: "`CircuitBreaker.execute`, success, in a fiber, against `effect/persistence` CircuitBreaker",
    must: 10,
    stretch: 16,
    unit: "faster",
    figure: {
      suite: breakers,
      over: "effect/persistence CircuitBreaker, consecutive failures",
      under: "Ballast execute, consecutive failures"
    },
    whyNot:
      "what is left is a step of the fiber for the call, one for its end and a look into a map; it would take circuits that are looked up once, when the policy is made, instead of at each call."
  },
  {
    id: "2a",
    what: "`RateLimiter` acquire, not limited, 10,000 keys, against `effect/persistence` RateLimiter",
    must: 4,
    stretch: 5,
    unit: "faster",
    figure: { suite: acquire, over: "effect/persistence RateLimiter, token bucket", under: "Ballast acquire" },
    whyNot:
      "with ten thousand keys most of the time goes into reading a map and a bucket that no processor cache holds, which both pay; it would take smaller accounts."
  },
  {
    id: "2b",
    what: "the same against rate-limiter-flexible",
    must: 1.1,
    stretch: 1.4,
    unit: "faster",
    figure: { suite: acquire, over: "rate-limiter-flexible", under: "Ballast acquire" },
    whyNot:
      "both look up one key in a map of ten thousand, and beside that a step of a fiber costs what a promise does; it would take accounts that are found without a map."
  },
  {
    id: "3a",
    what: "exact hit with a fresh 2 KB request, key included, one prompt again and again, against LangChain's `InMemoryCache.lookup`",
    must: 12,
    stretch: 50,
    unit: "faster",
    figure: { suite: hit, over: "LangChain InMemoryCache.lookup", under: "Ballast" },
    whyNot:
      "a fresh text must be compared with those met lately, character by character, before its digest is known; it would take prompts that are made once and used again."
  },
  {
    id: "3b",
    what: "the same, two thousand prompts in turn",
    must: 12,
    stretch: 50,
    unit: "faster",
    figure: { suite: hits, over: "LangChain InMemoryCache.lookup", under: "Ballast" },
    whyNot:
      "two thousand prompts of 2 KB and their entries do not fit the processor's caches, so that each hit waits for memory several times; it would take a table that keeps less of a text to compare it by."
  },
  {
    id: "3c",
    what: "the same as 3a, from the text of the prompt to that of the answer, against the Vercel AI SDK's `generateText` with its cache middleware",
    must: 10,
    stretch: 50,
    unit: "faster",
    figure: {
      suite: hit,
      over: "Vercel AI SDK, cache middleware, generateText",
      under: "Ballast generateText, runPromise"
    },
    whyNot:
      "a fiber is started for each call and the fresh text is compared with those met lately; it would take prompts that are made once and used again."
  },
  {
    id: "4",
    what: "key of a 200 KB conversation with one new message, against SHA-256 of its JSON",
    must: 40,
    stretch: 60,
    unit: "faster",
    figure: { suite: grown, over: "node:crypto SHA-256 of its JSON", under: "Ballast" },
    whyNot:
      "the digests of the forty known messages are looked up and hashed together at every call, and the new one costs its SHA-256; it would take a digest of the known beginning that is kept with the prompt's own array."
  },
  {
    id: "5",
    what: "added cost of the retry layer on success, against `Effect.retry`",
    must: 1 / 10,
    stretch: 1 / 20,
    unit: "part",
    figure: { suite: retry, over: "Ballast Retry", under: "Effect.retry", without: "bare call" },
    whyNot:
      "every call pays into the budget that all retries share, makes one object for its attempts and waits for its failure with one handler; it would take a layer that is entered only after the first failure."
  },
  {
    id: "6a",
    what: "full miss path (2 KB key, guards off, breaker, budget, limiter, retry, timeouts, metrics) against cockatiel's full stack, rate-limiter-flexible and SHA-256 of JSON",
    must: 0.5,
    stretch: 0.2,
    unit: "times",
    figure: {
      suite: miss,
      over: "Ballast, in a fiber",
      under: "cockatiel's stack, rate-limiter-flexible, lru-cache with SHA-256 of the JSON; no budget"
    },
    whyNot:
      "most of the time is keeping the answer (a digest of the raw fields, single flight, a weighed entry for each tenant) and the budget (every character of the prompt counted, a reservation, a line of the ledger), as the table of what each policy adds shows, where the other stack has a digest and a map; it would take a budget and a cache that together cost little more than the digest does."
  },
  {
    id: "6b",
    what: "the same against what is composed of Effect's own parts",
    must: 5,
    stretch: 10,
    unit: "faster",
    figure: {
      suite: miss,
      over: "Effect's own parts, lru-cache with SHA-256 of the JSON; no budget",
      under: "Ballast, in a fiber"
    },
    whyNot:
      "Effect's parts have no budget, no tenants and no single flight, which cost Ballast more than it saves around them, as the table of what each policy adds shows; it would take what 6a says."
  },
  {
    id: "7",
    what: "garbage per protected call (breaker, budget, limiter, retry, timeouts, telemetry)",
    must: 6,
    stretch: 4.5,
    unit: "kilobytes",
    figure: {
      suite: stack,
      bytesOf: "Ballast Resilient with breaker, budget, limiter, retry, timeouts and telemetry, in a fiber"
    },
    whyNot:
      "the bound was set for gates that remember little: a budget and a limiter make entries, a lease, a charge and a line of the ledger for every attempt, each an object or several; it would take leases that are used again from call to call and a ledger of columns."
  },
  {
    id: "8a",
    what: "refusal by an open circuit, against the faster one of cockatiel and opossum",
    must: 3,
    stretch: 10,
    unit: "faster",
    figure: {
      suite: "An open circuit, refusal, caught",
      over: ["cockatiel", "opossum"],
      under: "Ballast execute, in a fiber"
    },
    whyNot:
      "an error with its fields, a failed exit and the handler that catches it are what is left; it would take an error that is made once for each circuit."
  },
  {
    id: "8b",
    what: "refusal by a limit, against the faster one of cockatiel (a full bulkhead) and opossum (capacity reached)",
    must: 3,
    stretch: 10,
    unit: "faster",
    figure: {
      suite: "A refusal by a limit, caught",
      over: ["cockatiel, a full bulkhead", "opossum, capacity reached"],
      under: "Ballast acquire, onLimit: fail"
    },
    whyNot:
      "the refusal says which limit it was and when there is room, which is computed each time; it would take an error that computes its fields when they are read."
  },
  {
    id: "8c",
    what: "refusal over budget, against the faster one of cockatiel and opossum (neither has budgets: an open circuit)",
    must: 3,
    stretch: 10,
    unit: "faster",
    figure: {
      suite: "A call over budget, caught",
      over: ["cockatiel, an open circuit", "opossum, an open circuit"],
      under: "Ballast"
    },
    whyNot:
      "a call over budget goes the whole way of an admission (its price, a lease, the accounts of all limits in one step, an error that says what is left), where an open circuit is one look at a flag; it would take a budget that remembers that it is spent until its window ends."
  },
  {
    id: "9",
    what: "`effect/ai` `LanguageModel` call with every policy on, over the bare one",
    must: 1.25,
    stretch: 1.15,
    unit: "times",
    figure: {
      suite: "LanguageModel.generateText of effect/ai",
      over: "Ballast, every policy on",
      under: "the bare provider"
    },
    whyNot:
      "telemetry, two guards, the estimate of tokens and the settling of three gates come to a fixed sum, and the bare call through `effect/ai` is only about as dear as they are together, as the table shows; it would take every one of them at a fraction of its cost, since telemetry and guards alone use up what the bound allows."
  },
  {
    id: "10",
    what: "50-delta stream with guards and telemetry against the Vercel AI SDK's `streamText`",
    must: 5,
    stretch: 8,
    unit: "faster",
    figure: {
      suite: stream,
      over: "Vercel AI SDK, streamText, no guard",
      under: "Ballast, the stack with telemetry, retry, timeouts and the output guard"
    },
    whyNot:
      "every delta passes the timers, the telemetry and a guard that looks at the end of what was held back; it would take guards that look at several deltas at once, which delays them."
  },
  {
    id: "11a",
    what: "Redis: round trips to admit through limiter and budget together",
    must: 1,
    stretch: 1,
    unit: "round trips",
    figure: { counted: "admit" },
    whyNot: "the gates did not reserve as one, which is a defect: they must stand on one store."
  },
  {
    id: "11b",
    what: "Redis: round trips to settle both",
    must: 1,
    stretch: 1,
    unit: "round trips",
    figure: { counted: "settle" },
    whyNot: "the gates did not settle as one, which is a defect: they must stand on one store."
  },
  {
    id: "11c",
    what: "Redis: limiter at concurrency 100 against `effect/persistence`",
    must: 1.5,
    stretch: 1.7,
    unit: "faster",
    figure: {
      suite: "A limit in Redis, 100 at once",
      over: "effect/persistence RateLimiter, token bucket",
      under: "Ballast acquire"
    },
    whyNot:
      "client and server share the machine, and what Redis needs for any script is most of it; it would take places that are leased in blocks, which changes what is promised."
  },
  {
    id: "12a",
    what: "live heap over 10^6 distinct keys (limits, circuits, tenants, cache), from 10^5 on",
    must: 0,
    stretch: 0,
    unit: "growing",
    figure: { counted: "growing keys" },
    whyNot:
      "something is kept by a key that does not come again: the table of memory says which, and a bound must be given to it."
  },
  {
    id: "12b",
    what: "live heap over 10^6 calls through the whole stack, from 10^5 on",
    must: 0,
    stretch: 0,
    unit: "growing",
    figure: { counted: "growing calls" },
    whyNot: "something is kept of each call: a heap snapshot at both ends says what, and a bound must be given to it."
  }
]
