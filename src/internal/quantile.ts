/** A quantile of the last 256 values, worked out anew after every sixteenth. */

const size = 256
const fewest = 20

export class Quantile {
  /** `undefined` until twenty values are known. */
  value: number | undefined
  private readonly share: number
  private readonly values: Array<number> = []
  private next = 0
  private fresh = 0

  constructor(share: number) {
    this.share = share
  }

  add(value: number): void {
    this.values[this.next] = value
    this.next = (this.next + 1) % size
    this.fresh++
    if (this.values.length < fewest || (this.value !== undefined && this.fresh < 16)) return
    this.fresh = 0
    const sorted = this.values.toSorted((a, b) => a - b)
    this.value = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * this.share) - 1)]
  }
}
