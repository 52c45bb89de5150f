/** What a semantic cache does with a call: looks for an answer to a text that means the same, and keeps the answer it gets. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Attempts from "../Attempts.ts"
import { CacheControl } from "../CacheControl.ts"
import * as Caller from "../Caller.ts"
import type { LlmError, StoreUnavailable } from "../LlmError.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { collectParts, type LlmPart, LlmResponse } from "../LlmResponse.ts"
import * as Metrics from "../Metrics.ts"
import type * as Receipt from "../Receipt.ts"
import type { Match, Service as VectorIndex, VectorRefused } from "../VectorIndex.ts"
import * as entries from "./cacheEntry.ts"
import type { CacheKeeper, Found } from "./cacheKeeper.ts"
import { type Compared, comparedText } from "./comparedText.ts"
import { answeredBy, weigh } from "./flight.ts"
import * as gate from "./meaningGate.ts"

export interface Settings {
  readonly threshold: number
  /** Milliseconds. */
  readonly timeToLive: number
  readonly embedTimeout: number
  readonly longest: number
  readonly enforces: boolean
  /** The part of hits for which the model is asked as well. */
  readonly sample: number
  /** From which similarity on two answers are taken to say the same. */
  readonly agreement: number
  readonly secret: string | undefined
  readonly when: (request: LlmRequest) => boolean
  readonly embed: ((request: LlmRequest) => string | undefined) | undefined
}

const results = ["hit", "miss", "gated", "bypass", "error"] as const
export type Result = (typeof results)[number]

/** Where the answers to texts that are compared with each other lie. */
export type PartitionOf = (
  rest: LlmRequest,
  provider: Provider,
  caller: Caller.Identity
) => { readonly partition: string; readonly tenant: string | undefined } | undefined

export interface Parts {
  readonly settings: Settings
  readonly index: VectorIndex
  readonly keeper: CacheKeeper
  readonly model: EmbeddingModel.EmbeddingModel
  readonly partitionOf: PartitionOf
  readonly context: Context.Context<never>
}

/** A text that is looked for. */
interface Asked extends Compared {
  readonly provider: Provider
  readonly partition: string
  readonly tenant: string | undefined
  readonly caller: Caller.Identity
  readonly features: gate.Features
  readonly vector: ReadonlyArray<number>
  readonly receipt: Receipt.Open | undefined
}

/** Longer answers are not kept, in characters of JSON. */
const maxBytes = 2 ** 20

/** Most hits that are measured at the same time, and how long one may take. */
const maxChecks = 16
const checkWithin = Duration.minutes(1)

/** Most neighbours whose gate is asked. */
const neighbours = 8

export class Semantic {
  readonly counts: Record<Result | "sampled" | "falseHits" | "stored", number> = {
    hit: 0,
    miss: 0,
    gated: 0,
    bypass: 0,
    error: 0,
    sampled: 0,
    falseHits: 0,
    stored: 0
  }
  private readonly parts: Parts
  private readonly checks = new Set<Fiber.Fiber<unknown>>()
  private readonly metrics = new Map(results.map((result) => [result, Metrics.semanticCacheRequests(result)]))

  constructor(parts: Parts) {
    this.parts = parts
  }

  /** Ends what is still being measured. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => Fiber.interruptAll([...this.checks]))
  }

  wrap(inner: Provider): Provider {
    return {
      ...inner,
      generate: (request) =>
        Effect.flatMap(this.sought(inner, request), (sought) => {
          if (sought === undefined) return inner.generate(request)
          const { asked, found } = sought
          if (found !== undefined) return Effect.succeed(entries.responseOf(found.stored, found.storedAt))
          return Effect.tap(inner.generate(request), (response) => this.keep(asked, entries.ofResponse(response)))
        }),
      stream: (request) =>
        Stream.unwrap(
          Effect.map(this.sought(inner, request), (sought) => {
            if (sought === undefined) return inner.stream(request)
            const { asked, found } = sought
            if (found !== undefined) return Stream.fromIterable(entries.partsOf(found.stored, found.storedAt))
            return this.recorded(inner.stream(request), asked)
          })
        )
    }
  }

  /** `undefined` for what is not compared. */
  private sought(inner: Provider, request: LlmRequest) {
    return Effect.withFiber((fiber) => {
      const caller = fiber.getRef(Caller.Caller)
      const control = fiber.getRef(CacheControl)
      const receipt = Attempts.receiptOf(fiber)
      const { embed, longest, when } = this.parts.settings
      const compared = control.mode === "use" && when(request) ? comparedText(request, embed, longest) : undefined
      const place = compared && this.parts.partitionOf(compared.rest, inner, caller)
      if (compared === undefined || place === undefined) {
        this.count("bypass", receipt)
        return Effect.succeed(undefined)
      }
      return Effect.flatMap(this.vectorOf(compared.text, receipt), (vector) => {
        if (vector === undefined) return Effect.succeed(undefined)
        const features = gate.digest(gate.features(compared.text), this.parts.settings.secret)
        const asked: Asked = { ...compared, ...place, provider: inner, caller, features, vector, receipt }
        return Effect.map(this.find(asked, request), (found) => ({ asked, found }))
      })
    })
  }

  /** A model that fails or is slow is a miss, and nothing is kept. */
  private vectorOf(text: string, receipt?: Receipt.Open): Effect.Effect<ReadonlyArray<number> | undefined> {
    const { embedTimeout } = this.parts.settings
    const embedded = Effect.timeoutOption(this.parts.model.embed(text), Duration.millis(embedTimeout))
    return Effect.matchCause(embedded, {
      onSuccess: (found) => {
        if (found._tag === "Some") return found.value.vector
        this.count("error", receipt)
        return undefined
      },
      onFailure: () => {
        this.count("error", receipt)
        return undefined
      }
    })
  }

  private find(asked: Asked, request: LlmRequest): Effect.Effect<Found | undefined> {
    const { index, keeper, settings } = this.parts
    const near = index.nearest(asked.partition, asked.vector, { limit: neighbours, atLeast: settings.threshold })
    return Effect.flatMap(keeper.asking(this.accepted(near, [])), (matches = []) => {
      const match = matches.find(({ data }) => this.passes(asked, data))
      if (match === undefined) {
        this.count(matches.length > 0 ? "gated" : "miss", asked.receipt)
        return Effect.succeed(undefined)
      }
      return Effect.flatMap(keeper.find({ key: keyOf(match), partition: asked.tenant }), (found) => {
        if (found === undefined || found.state !== "fresh") {
          this.count("miss", asked.receipt)
          return Effect.succeed(undefined)
        }
        return this.answered(asked, request, found)
      })
    })
  }

  private passes({ features }: Asked, data: unknown): boolean {
    const known = gate.read(data)
    return known !== undefined && gate.differ(features, known).length === 0
  }

  /** Whether it is given, and whether the model is asked what it would have said. */
  private answered(asked: Asked, request: LlmRequest, found: Found): Effect.Effect<Found | undefined> {
    const { stored } = found
    const { enforces, sample } = this.parts.settings
    return Effect.flatMap(Random.next, (random) => {
      this.count("hit", asked.receipt)
      const checks = random < sample ? this.check(asked, request, stored) : Effect.void
      if (!enforces) return Effect.as(checks, undefined)
      this.parts.keeper.saved(stored.parts, stored, asked.caller)
      if (asked.receipt !== undefined) asked.receipt.source = "semanticCache"
      return Effect.as(checks, found)
    })
  }

  /** Asks behind the caller's back, who pays for it, and compares what was said. */
  private check(asked: Asked, request: LlmRequest, stored: entries.Stored): Effect.Effect<void> {
    const compared = Effect.gen({ self: this }, function* () {
      const response = yield* asked.provider.generate(request)
      const before = yield* this.vectorOf(entries.responseOf(stored, 0).text)
      const now = yield* this.vectorOf(response.text)
      if (before === undefined || now === undefined) return
      this.counts.sampled++
      const isFalse = similarity(before, now) < this.parts.settings.agreement
      if (isFalse) this.counts.falseHits++
      Metrics.semanticCacheSampled(isFalse ? "false" : "true").updateUnsafe(1, this.parts.context)
    })
    return Effect.withFiber((fiber) => {
      if (this.checks.size >= maxChecks) return Effect.void
      const context = Context.add(
        fiber.context,
        Attempts.Current,
        Attempts.make(Attempts.defaultMax, asked.receipt?.behind())
      )
      const check = Effect.runForkWith(context)(Effect.ignore(Effect.timeoutOption(compared, checkWithin)))
      this.checks.add(check)
      check.addObserver(() => this.checks.delete(check))
      return Effect.void
    })
  }

  private recorded(stream: Stream.Stream<LlmPart, LlmError>, asked: Asked): Stream.Stream<LlmPart, LlmError> {
    const parts: Array<LlmPart> = []
    let bytes = 0
    const noted = Stream.tap(stream, (part) =>
      Effect.sync(() => {
        bytes += weigh(part)
        if (bytes <= maxBytes) parts.push(part)
      })
    )
    const kept = Effect.suspend(() => {
      if (bytes > maxBytes) return Effect.void
      const by = answeredBy(parts, asked.provider)
      return this.keep(asked, entries.ofResponse(new LlmResponse({ ...by, parts: collectParts(parts) })))
    })
    return Stream.concat(noted, Stream.drain(Stream.fromEffect(kept)))
  }

  /** Only texts: what calls a tool is about more than its question. */
  private keep(asked: Asked, stored: entries.Stored | undefined): Effect.Effect<void> {
    const { index, keeper, settings } = this.parts
    const isText = stored?.parts.every(({ type }) => type !== "tool-call" && type !== "tool-result" && type !== "file")
    if (stored === undefined || isText !== true) return Effect.void
    return Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      const id = `${(yield* Random.nextInt).toString(36)}.${(yield* Random.nextInt).toString(36)}`
      const expiresAt = Math.ceil(now + settings.timeToLive)
      yield* keeper.keep({ key: keyOf({ id }), partition: asked.tenant }, stored, settings.timeToLive)
      const item = { id, vector: asked.vector, data: gate.write(asked.features), expiresAt }
      yield* keeper.asking(this.accepted(index.add(asked.partition, item, asked.tenant), undefined))
      this.counts.stored++
    })
  }

  /** A vector that is none is the model's fault, and not the store's. */
  private accepted<A>(asked: Effect.Effect<A, StoreUnavailable | VectorRefused>, none: A) {
    return Effect.catchTag(asked, "VectorRefused", () => {
      this.count("error")
      return Effect.succeed(none)
    })
  }

  private count(result: Result, receipt?: Receipt.Open): void {
    this.counts[result]++
    if (receipt !== undefined) receipt.semanticCache = result
    this.metrics.get(result)?.updateUnsafe(1, this.parts.context)
  }
}

const keyOf = ({ id }: Pick<Match, "id">): string => `semantic:${id}`

/** Cosine, 0 where one of them has no direction. */
const similarity = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  let [dot, ofA, ofB] = [0, 0, 0]
  for (const [i, x] of a.entries()) {
    const y = b[i] ?? 0
    dot += x * y
    ofA += x * x
    ofB += y * y
  }
  return ofA === 0 || ofB === 0 ? 0 : dot / Math.sqrt(ofA * ofB)
}
