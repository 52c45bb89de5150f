/** How many extra attempts may be made for those that are made anyway, so that an outage is not amplified. */

export interface AllowanceOptions {
  /** Extra attempts per call. */
  readonly ratio: number
  /** Extra attempts that are always allowed in each `perMillis`. */
  readonly floor: number
  readonly perMillis: number
}

/** Most that quiet times can save up for a bad one, in floors. */
const savings = 10

/**
 * Credits from calls and credits from time, each bounded: over any time T with N calls at most
 * `ratio * N + floor * (T / per + 1) + savings` extra attempts. A call costs one addition and no look at the clock.
 */
export class Allowance {
  private readonly options: AllowanceOptions
  private readonly max: number
  private earned = 0
  private floor: number
  private at: number | undefined

  constructor(options: AllowanceOptions) {
    this.options = options
    this.max = Math.max(1, options.floor * savings)
    this.floor = options.floor
  }

  /** A call is made. */
  deposit(): void {
    this.earned = Math.min(this.max, this.earned + this.options.ratio)
  }

  /** Takes one extra attempt, if there is one. */
  take(now: number): boolean {
    const { floor, perMillis } = this.options
    this.floor = Math.min(floor, this.floor + (floor * (now - (this.at ?? now))) / perMillis)
    this.at = now
    // sums of fractions: five times 0.2 must be one
    if (this.earned >= 1 - 1e-9) this.earned = Math.max(0, this.earned - 1)
    else if (this.floor >= 1 - 1e-9) this.floor = Math.max(0, this.floor - 1)
    else return false
    return true
  }

  /** An attempt that was taken is not made. */
  giveBack(): void {
    this.earned = Math.min(this.max, this.earned + 1)
  }
}
