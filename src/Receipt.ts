/**
 * How a call came about: who was asked, for how long and for how much, what caches and guards did. Span, log line and metrics
 * are made from it, so that they cannot disagree.
 *
 * Policies write to the receipt of the call they run in (`Attempts.receiptOf`), without knowing of each other. It holds no
 * prompt, no answer, no tenant and no key.
 */
import type * as Clock from "effect/Clock"
import type * as Tracer from "effect/Tracer"
import type * as Response from "effect/ai/Response"
import * as receipts from "./internal/receipts.ts"
import type { Service } from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import type { Usage } from "./LlmResponse.ts"

/** See the fields of `internal/receipts.ts`. */
export type Receipt = typeof receipts.Receipt.Type

/** One question to one provider: how long it took, how it ended and what it cost. */
export type Attempt = typeof receipts.Attempt.Type

/** What a guard did, without a word of the text. */
export type Finding = typeof receipts.Finding.Type

/** Its codec, for who keeps receipts. */
export const Receipt = receipts.Receipt

/** What gates know of an attempt. */
export interface Note {
  cost?: number
  reserved?: number
  tokens?: { readonly input: number; readonly output: number }
}

/** Most findings that are kept of one call. */
const mostFindings = 100

const none: ReadonlyArray<Finding> = []

/** A receipt that is being written. */
export class Open {
  readonly attempts: Array<Attempt> = []
  /** Of a call within another one, which tells of it. */
  readonly isHidden: boolean
  findings: ReadonlyArray<Finding> = none
  cache: string | undefined
  semanticCache: string | undefined
  source: "cache" | "semanticCache" | "shared" | undefined
  /** Who is told of every attempt when it has ended, and who draws its span; set by who opened the receipt. */
  listener: Listener | undefined

  /** The clock of the call, which is asked several times; milliseconds of it when the call began. */
  readonly clock: Clock.Clock
  readonly startedAt: number

  constructor(clock: Clock.Clock, startedAt: number, isHidden = false) {
    this.clock = clock
    this.startedAt = startedAt
    this.isHidden = isHidden
  }

  /** Notes what a guard did, up to 100 times. */
  found(finding: Finding): void {
    if (this.findings.length < mostFindings) this.findings = [...this.findings, finding]
  }

  /** Notes an attempt that is over, and tells the listener. */
  ended(attempt: Attempt, details: Details | undefined): void {
    this.attempts.push(attempt)
    this.listener?.ended(attempt, details)
  }

  /** For what goes on behind a call that was answered: its attempts are told of, and are not on this receipt. */
  behind(): Open {
    const other = new Open(this.clock, this.startedAt)
    other.listener = this.listener
    return other
  }
}

/** What a span says beside the attempt. */
export interface Details {
  readonly span: Tracer.Span
  readonly usage: Usage | undefined
  readonly finish: Response.FinishPartEncoded | undefined
  readonly metadata: Response.ResponseMetadataPartEncoded | undefined
  readonly error: unknown
}

/** For a call that begins here; within a call that is told of already it is hidden, so that nothing is told twice. */
export const opened = (clock: Clock.Clock, startedAt: number, outer: Open | undefined): Open =>
  new Open(clock, startedAt, outer?.listener !== undefined)

/** Who follows the attempts of a call. It is called within the call, so it must be short. */
export interface Listener {
  /** A provider is asked now; the span of the attempt, if it gets one. */
  readonly began?: ((provider: Service, request: LlmRequest) => Tracer.Span | undefined) | undefined
  /** With details where it has a span. */
  readonly ended: (attempt: Attempt, details: Details | undefined) => void
}
