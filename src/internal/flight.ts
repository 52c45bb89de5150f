/**
 * One call for all who ask the same at the same time: it runs in a fiber of its own, goes on while anybody waits for it, and
 * is interrupted when the last one leaves. Whoever comes late gets what has passed and then follows.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Pull from "effect/Pull"
import type * as Response from "effect/ai/Response"
import type { LlmError } from "../LlmError.ts"
import { collectParts, type LlmPart, LlmResponse, toStreamParts } from "../LlmResponse.ts"

type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** Parts that a reader may be behind where they are not all kept. */
const mostBehind = 64

export class Flight {
  /** How it ended; what came before a failure is still read. */
  exit: Exit.Exit<void, LlmError> | undefined
  /** The answer of a call that was not a stream. */
  whole: LlmResponse | undefined
  /** Whether all that has passed is still there, so that it can be joined and kept. */
  isWhole = true
  waiters = 0
  bytes = 0
  private readonly maxBytes: number
  private fiber: Fiber.Fiber<unknown> | undefined
  private parts: Array<LlmPart> = []
  /** How many parts were dropped before the first that is kept. */
  private dropped = 0
  private readonly readers = new Set<Reader>()
  private listeners = new Set<() => void>()
  /** Those who want all of it at once: nothing is dropped while there are any. */
  private collecting = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** `left` is told when it is over. */
  start(context: Context.Context<never>, run: Effect.Effect<void, LlmError>, over: () => void): void {
    const told = Effect.onExit(run, (exit) => Effect.sync(() => this.end(exit)))
    const fiber = Effect.runForkWith(context)(Effect.exit(told))
    this.fiber = fiber
    fiber.addObserver(over)
  }

  /** The parts of a stream, in their order; waits for its readers where they are not kept. */
  append(parts: ReadonlyArray<LlmPart>): Effect.Effect<void> {
    for (const part of parts) {
      this.parts.push(part)
      this.bytes += weigh(part)
    }
    if (this.bytes > this.maxBytes) this.isWhole = false
    this.wake()
    return this.isWhole ? Effect.void : this.pace()
  }

  /** All of an answer at once. */
  fulfil(response: LlmResponse, parts?: ReadonlyArray<LlmPart>): void {
    this.whole = response
    if (parts !== undefined || this.readers.size > 0) this.parts = [...(parts ?? toStreamParts(response.parts))]
    for (const part of response.parts) this.bytes += weigh(part)
    if (this.bytes > this.maxBytes) this.isWhole = false
    this.end(Exit.void)
  }

  /** Of an answer that came as a whole they are made when somebody wants them. */
  get recorded(): ReadonlyArray<LlmPart> {
    if (this.whole !== undefined && this.parts.length === 0) this.parts = [...toStreamParts(this.whole.parts)]
    return this.parts
  }

  end(exit: Exit.Exit<void, LlmError>): void {
    this.exit ??= exit
    this.wake()
  }

  /** One that waits, for all of it at once or part by part: it must leave. */
  enter(collects: boolean): void {
    this.waiters++
    if (collects) this.collecting++
  }

  /** The last one who leaves ends what still runs, and waits until it is over; if it `drains`, nobody does. */
  leave(collects: boolean, drains: boolean): Effect.Effect<void> {
    this.waiters--
    if (collects) this.collecting--
    this.wake()
    if (drains || this.waiters > 0 || this.exit !== undefined || this.fiber === undefined) return Effect.void
    return Fiber.interrupt(this.fiber)
  }

  /** For the end of its owner. */
  get interrupt(): Effect.Effect<void> {
    return Effect.suspend(() => (this.fiber === undefined ? Effect.void : Fiber.interrupt(this.fiber)))
  }

  /** The whole answer, when there is one. */
  answer(provider: { readonly provider: string; readonly model: string }): Effect.Effect<LlmResponse, LlmError> {
    return Effect.flatMap(this.ended, (exit) => {
      if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
      return Exit.succeed(
        this.whole ?? new LlmResponse({ ...answeredBy(this.parts, provider), parts: collectParts(this.parts) })
      )
    })
  }

  /** A reader of all parts, at its own pace. */
  reader(): Reader {
    const reader: Reader = {
      next: this.dropped,
      pull: Effect.suspend((): Pull.Pull<Parts, LlmError> => {
        const [first, ...rest] = this.recorded.slice(reader.next - this.dropped)
        if (first !== undefined) {
          reader.next += rest.length + 1
          this.wake()
          return Effect.succeed([first, ...rest])
        }
        if (this.exit === undefined) return Effect.flatMap(this.changed, () => reader.pull)
        return Exit.isFailure(this.exit) ? Exit.failCause(this.exit.cause) : Cause.done()
      }),
      close: () => {
        this.readers.delete(reader)
        this.wake()
      }
    }
    this.readers.add(reader)
    return reader
  }

  private readonly ended: Effect.Effect<Exit.Exit<void, LlmError>> = Effect.suspend(() =>
    this.exit === undefined ? Effect.flatMap(this.changed, () => this.ended) : Exit.succeed(this.exit)
  )

  /** Until something happens. */
  private readonly changed: Effect.Effect<void> = Effect.callback((resume) => {
    const listener = () => resume(Exit.void)
    this.listeners.add(listener)
    return Effect.sync(() => this.listeners.delete(listener))
  })

  private wake(): void {
    const { listeners } = this
    if (listeners.size === 0) return
    this.listeners = new Set()
    for (const listener of listeners) listener()
  }

  /** Drops what everybody has read, and waits while the slowest one is far behind. */
  private pace(): Effect.Effect<void> {
    if (this.collecting > 0) return Effect.void
    const all = this.dropped + this.parts.length
    // the first reader may be about to come; where nobody waits nobody reads
    const none = this.waiters === 0 ? all : this.dropped
    const slowest = this.readers.size === 0 ? none : Math.min(...[...this.readers].map(({ next }) => next))
    this.parts.splice(0, slowest - this.dropped)
    this.dropped = slowest
    if (this.parts.length <= mostBehind) return Effect.void
    return Effect.flatMap(this.changed, () => this.pace())
  }
}

export interface Reader {
  next: number
  readonly pull: Pull.Pull<Parts, LlmError>
  readonly close: () => void
}

/** Roughly what a part takes as JSON. */
export const weigh = (part: LlmPart | Response.PartEncoded): number => {
  if ("delta" in part) return part.delta.length + 48
  if (part.type === "text" || part.type === "reasoning") return part.text.length + 48
  return JSON.stringify(part)?.length ?? 0
}

/** A finish part says who answered, where that was not the first provider. */
export const answeredBy = (
  parts: ReadonlyArray<LlmPart | Response.PartEncoded>,
  provider: { readonly provider: string; readonly model: string }
): { readonly provider: string; readonly model: string } => {
  const finish = parts.findLast((part) => part.type === "finish")
  const said = finish?.metadata?.["ballast"]
  const by = typeof said === "object" && said !== null && !Array.isArray(said) ? said : {}
  const text = (name: "provider" | "model") => {
    const value = (by as Record<string, unknown>)[name] // an object
    return typeof value === "string" ? value : provider[name]
  }
  return { provider: text("provider"), model: text("model") }
}
