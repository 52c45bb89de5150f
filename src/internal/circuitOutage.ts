/** Whether Redis is asked about circuits, and that an operator hears of it where it cannot be. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Metrics from "../Metrics.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { StoreBreaker } from "./storeBreaker.ts"

const fallbacks = Metric.withAttributes(Metrics.storeFallbacks, { store: "redis-circuits" })

export class Outage {
  private readonly context: Context.Context<never>
  private readonly breaker = new StoreBreaker()
  /** It was told that this process is alone. */
  private told = false
  private why = "not asked"

  constructor(context: Context.Context<never>) {
    this.context = context
  }

  /** Names the outage, or the time without one, that a question belongs to. */
  get epoch(): number {
    return this.breaker.epoch
  }

  mayAsk(now: number): boolean {
    return this.breaker.mayAsk(now)
  }

  succeeded(epoch: number): void {
    if (epoch !== this.breaker.epoch) return
    this.breaker.succeeded(epoch)
    if (!this.told) return
    this.told = false
    this.log(Effect.logInfo("Circuits are shared through Redis again"))
  }

  failed(epoch: number, now: number, { description = "no answer" }: StoreUnavailable): void {
    this.why = description
    if (this.breaker.failed(epoch, now)) this.tell()
  }

  /** So many answers were given without Redis. */
  decided(answers: number): void {
    if (answers === 0) return
    fallbacks.updateUnsafe(answers, this.context)
    this.tell()
  }

  private tell(): void {
    if (this.told) return
    this.told = true
    this.log(Effect.logWarning(`Redis does not answer (${this.why}): circuits go on in this process alone`))
  }

  private log(message: Effect.Effect<void>): void {
    Effect.runForkWith(this.context)(message)
  }
}
