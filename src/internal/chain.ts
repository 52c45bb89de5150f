/** A list of things that know their neighbours: anything is taken out at once, wherever it is. */

export interface Link<Self> {
  older: Self | undefined
  newer: Self | undefined
}

export class Chain<A extends Link<A>> {
  oldest: A | undefined
  newest: A | undefined

  append(one: A): void {
    one.older = this.newest
    if (this.newest === undefined) this.oldest = one
    else this.newest.newer = one
    this.newest = one
  }

  remove(one: A): void {
    if (one.older === undefined) this.oldest = one.newer
    else one.older.newer = one.newer
    if (one.newer === undefined) this.newest = one.older
    else one.newer.older = one.older
    one.older = undefined
    one.newer = undefined
  }
}
