/** Rows of eight numbers that lie together in memory: what is used one after the other is read one after the other. */
export class Rows {
  numbers: Float64Array
  private free: Array<number> = []
  private used = 0

  constructor(rows = 16) {
    this.numbers = new Float64Array(width * rows)
  }

  /** Where a row of zeros begins. */
  open(): number {
    const row = this.free.pop()
    if (row !== undefined) {
      this.numbers.fill(0, row, row + width)
      return row
    }
    if (this.used === this.numbers.length) {
      const larger = new Float64Array(2 * this.used)
      larger.set(this.numbers)
      this.numbers = larger
    }
    this.used += width
    return this.used - width
  }

  close(row: number): void {
    this.free.push(row)
  }

  /** Whether most of the memory is of no use. */
  get isSparse(): boolean {
    return this.free.length > 1024 && width * this.free.length > (3 / 4) * this.numbers.length
  }

  /** Moves the rows together, and tells their owners where they are. */
  compact(rows: Iterable<{ row: number }>, count: number): void {
    const before = this.numbers
    this.numbers = new Float64Array(width * Math.max(16, 2 * count))
    this.free = []
    this.used = 0
    for (const one of rows) {
      const row = this.open()
      this.numbers.set(before.subarray(one.row, one.row + width), row)
      one.row = row
    }
  }
}

const width = 8
