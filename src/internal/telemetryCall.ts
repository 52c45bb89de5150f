/** One call while it is told of: its receipt in the making, its span, its lines in the log. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { type LlmError, withReceipt } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { collectParts, isVisible, type LlmPart, LlmResponse } from "../LlmResponse.ts"
import type { Attempt, Details, Listener, Open, Receipt } from "../Receipt.ts"
import { objectOf } from "./fields.ts"
import { answeredBy } from "./flight.ts"
import { lines, type Lines } from "./telemetryLines.ts"
import type { AllMeters } from "./telemetryMeters.ts"
import * as spans from "./telemetrySpans.ts"

/** Longest a listener may keep a call, which nothing can interrupt meanwhile. */
const patience = Duration.seconds(1)

export interface Settings {
  readonly logs: boolean
  readonly sample: number
  readonly onReceipt: ((receipt: Receipt) => Effect.Effect<void>) | undefined
  /** What may be told of what was asked and answered. */
  readonly capture: ((request: LlmRequest, answer: unknown) => spans.Content) | undefined
}

export class Call implements Listener {
  readonly span: spans.Spans | undefined
  readonly began: Listener["began"]
  /** Whether all of it was told. */
  isOver = false
  private readonly settings: Settings
  private readonly meters: AllMeters
  private readonly inner: Service
  private readonly request: LlmRequest
  private readonly open: Open
  private readonly clock: Clock.Clock
  private readonly logs: Lines | undefined
  private before: Attempt | undefined
  private firstPartAt: number | undefined
  private length = 0
  private answer: unknown
  private streamed: Array<LlmPart> | undefined

  constructor(
    settings: Settings,
    meters: AllMeters,
    inner: Service,
    request: LlmRequest,
    open: Open,
    fiber: Fiber.Fiber<unknown, unknown>
  ) {
    this.settings = settings
    this.meters = meters
    this.inner = inner
    this.request = request
    this.open = open
    this.clock = open.clock
    this.span = spans.begin(fiber, this.clock, inner)
    this.began = this.span?.began
    const sampled = settings.sample >= 1 || fiber.getRef(Random.Random).nextDoubleUnsafe() < settings.sample
    this.logs = settings.logs && sampled ? lines(fiber, inner, request, this.span?.call) : undefined
    this.logs?.started()
    open.listener = this
  }

  ended(attempt: Attempt, details: Details | undefined): void {
    // the loser of a race was neither a retry nor a move to another provider
    this.meters.attempt(attempt, attempt.lostRace ? undefined : this.before)
    if (!attempt.lostRace) this.before = attempt
    this.span?.ended(attempt, details)
  }

  /** The answer with its receipt. */
  answered(response: LlmResponse): LlmResponse {
    if (this.logs !== undefined) this.length = response.text.length
    if (this.settings.capture !== undefined) this.answer = response.parts
    const { model, parts, provider } = response
    return new LlmResponse({ provider, model, parts, receipt: this.receipt(response) })
  }

  failed(error: LlmError): LlmError {
    return withReceipt(error, this.receipt(undefined))
  }

  /** Parts of a stream go by. */
  passed(parts: ReadonlyArray<LlmPart>): void {
    for (const part of parts) {
      if (this.firstPartAt === undefined && isVisible(part)) this.firstPartAt = this.clock.currentTimeMillisUnsafe()
      if (part.type === "text-delta") this.length += part.delta.length
    }
    if (this.settings.capture !== undefined) (this.streamed ??= []).push(...parts)
  }

  /** The last part of a stream with its receipt. */
  signed(part: Extract<LlmPart, { readonly type: "finish" }>): LlmPart {
    const ballast = objectOf(part.metadata?.["ballast"])
    const receipt = this.receipt(answeredBy([part], this.inner))
    // a receipt without its empty fields is JSON
    const told = JSON.parse(JSON.stringify(receipt)) as Record<string, never>
    return { ...part, metadata: { ...part.metadata, ballast: { ...ballast, receipt: told } } }
  }

  private made: Receipt | undefined

  private receipt(by: { readonly provider: string; readonly model: string } | undefined): Receipt {
    const { firstPartAt, inner, open } = this
    const { startedAt } = open
    const isStatic = by?.provider === "ballast"
    this.made = {
      source: by === undefined ? "none" : isStatic ? "static" : (open.source ?? "provider"),
      provider: by?.provider ?? inner.provider,
      model: by?.model ?? inner.model,
      startedAt,
      latency: this.clock.currentTimeMillisUnsafe() - startedAt,
      firstPart: firstPartAt === undefined ? undefined : firstPartAt - startedAt,
      attempts: open.attempts,
      findings: open.findings,
      cache: open.cache,
      semanticCache: open.semanticCache
    }
    return this.made
  }

  /** Whether nobody but the metrics is told, who do not count a call that is interrupted. */
  get isCountedOnly(): boolean {
    return this.span === undefined && this.logs === undefined && this.settings.onReceipt === undefined
  }

  /** For a call of which only metrics tell: it is over. */
  counted<A, E>(exit: Exit.Exit<A, E>): Exit.Exit<A, E> {
    if (this.isCountedOnly) this.over(exit)
    return exit
  }

  /** Tells of the call, once; the effect tells whoever listens. */
  over(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined {
    if (this.isOver) return undefined
    this.isOver = true
    const { settings } = this
    const receipt = this.made ?? this.receipt(undefined)
    const isSuccess = Exit.isSuccess(exit)
    const isStatic = receipt.source === "static"
    if (isStatic) this.meters.degraded(receipt.model)
    const { model, provider } = this.inner
    // who leaves is neither answered nor failed
    if (isSuccess || !Cause.hasInterruptsOnly(exit.cause))
      this.meters.call(isStatic ? { ...receipt, provider, model } : receipt, isSuccess)
    this.span?.over(receipt, exit, settings.capture?.(this.request, this.answer ?? collectParts(this.streamed ?? [])))
    this.logs?.over(receipt, exit, this.length)
    const { onReceipt } = settings
    if (onReceipt === undefined) return undefined
    return Effect.ignoreCause(
      Effect.timeoutOption(
        Effect.suspend(() => onReceipt(receipt)),
        patience
      )
    )
  }
}
