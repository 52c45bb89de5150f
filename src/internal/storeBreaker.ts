/** Whether a store that failed is asked: after failures in a row not for a while, then by one question at a time. */

/** Failures in a row after which it is not asked. */
export const maxFailures = 5

/** Milliseconds until one question goes as a probe, and from a probe without an answer until the next one. */
const pause = 10_000

export class StoreBreaker {
  /** Begins anew with each outage and each probe: an answer to a question of an older one says nothing of now. */
  epoch = 0
  private failures = 0
  /** When the pause began. */
  private since: number | undefined

  get isOpen(): boolean {
    return this.since !== undefined
  }

  /** Nothing failed since the last success. */
  get isCalm(): boolean {
    return this.failures === 0
  }

  /**
   * Whether to ask. While it is open, `true` makes the caller's question the probe, and the pause begins anew: a probe that
   * is interrupted need not be given back.
   */
  mayAsk(now: number): boolean {
    if (this.since === undefined) return true
    // a clock that was put back keeps nobody waiting for longer
    if (now >= this.since && now < this.since + pause) return false
    this.begin(now)
    return true
  }

  /** True where this ends the outage. */
  succeeded(epoch: number): boolean {
    if (epoch !== this.epoch) return false
    this.failures = 0
    if (this.since === undefined) return false
    this.since = undefined
    return true
  }

  /** True where this begins an outage. */
  failed(epoch: number, now: number): boolean {
    if (epoch !== this.epoch || ++this.failures < maxFailures) return false
    const begins = this.since === undefined
    this.begin(now)
    return begins
  }

  private begin(now: number): void {
    this.since = now
    this.epoch++
  }
}
