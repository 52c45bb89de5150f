/** Values by name that are made when they are needed, and forgotten when others were needed more recently. */
export class Recent<V> {
  private readonly make: (name: string) => V
  private young = new Map<string, V>()
  private old = new Map<string, V>()

  constructor(make: (name: string) => V) {
    this.make = make
  }

  get(name: string): V {
    const found = this.young.get(name)
    if (found !== undefined) return found
    const value = this.old.get(name) ?? this.make(name)
    if (this.young.size >= most) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(name, value)
    return value
  }

  /** Makes it anew. */
  renew(name: string): V {
    const value = this.make(name)
    this.young.set(name, value)
    return value
  }

  get size(): number {
    return this.young.size + this.old.size
  }
}

/** Names that are certainly remembered; twice as many are at most. */
const most = 16_384
