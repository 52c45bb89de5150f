/** Tells of limits that are nearly used up, each threshold once per window, however many processes share them. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Quota, Service as Store } from "../QuotaStore.ts"
import type { Counted } from "./budgetLimits.ts"

/** So much of a limit is spent for the first time in its window, or a call was refused by it. */
export interface Alert {
  /** The limit's name, and the time over which it counts. */
  readonly budget: string
  readonly window: Counted["window"]
  /** Who shares it, for example `"tenant=acme"`. */
  readonly owner: string
  /** The part of the limit that was spent, up to 1, which also says that a call was refused. */
  readonly threshold: number
  /** Nano-USD, as far as this process knows. */
  readonly spent: number
  readonly limit: number
  /** Milliseconds of the store's clock, where the window has an end of its own. */
  readonly endsAt?: number | undefined
}

/** What is known of one counter. */
export interface Meter {
  readonly limit: Counted
  readonly owner: string
  readonly key: string
  quota: Quota
  /** Nano-USD: what was settled, and what this process has reserved on top of it. */
  spent: number
  open: number
  /** How many thresholds were told of, and whether it was told that calls are refused. */
  told: number
  toldRefused: boolean
  /** Calls that wait for what is reserved to be given back, in the order in which they are woken. */
  readonly waiting: Array<() => void>
}

const mostKept = 256

export class Alerts {
  static readonly make = (store: Store, thresholds: ReadonlyArray<number>): Effect.Effect<Alerts> =>
    Effect.map(PubSub.sliding<Alert>(mostKept), (published) => new Alerts(store, thresholds, published))

  readonly stream: Stream.Stream<Alert>
  private readonly store: Store
  private readonly thresholds: ReadonlyArray<number>
  private readonly published: PubSub.PubSub<Alert>
  private readonly meters = new Map<string, Meter>()
  private sweepAt = 1024

  private constructor(store: Store, thresholds: ReadonlyArray<number>, published: PubSub.PubSub<Alert>) {
    this.store = store
    this.thresholds = thresholds
    this.published = published
    this.stream = Stream.fromPubSub(published)
  }

  meterOf(limit: Counted, owner: string, key: string, quota: Quota): Meter {
    const known = this.meters.get(key)
    if (known === undefined) {
      const meter = { limit, owner, key, quota, spent: 0, open: 0, told: 0, toldRefused: false, waiting: [] }
      this.meters.set(key, meter)
      if (this.meters.size >= this.sweepAt) this.sweep()
      return meter
    }
    if (known.quota !== quota) {
      known.quota = quota
      known.told = 0
      known.toldRefused = false
      known.spent = 0
    }
    return known
  }

  /** What is told of a meter now; `undefined` where nothing is, as nearly always. */
  passed(meter: Meter, isRefused = false): Effect.Effect<void> | undefined {
    const { limit, spent } = meter
    let reached = 0
    for (const part of this.thresholds) if (spent >= part * limit.limit) reached++
    if (reached < meter.told && meter.quota._tag === "Rolling") {
      meter.told = reached
      meter.toldRefused = false
    }
    const tellsRefused = isRefused && !meter.toldRefused && this.thresholds.at(-1) === 1
    if (reached <= meter.told && !tellsRefused) return undefined
    const parts = new Set(this.thresholds.slice(meter.told, reached))
    if (tellsRefused) parts.add(1)
    meter.told = Math.max(meter.told, reached)
    meter.toldRefused ||= parts.has(1)
    const { quota } = meter
    return Effect.forEach(parts, (part) => this.tell(meter, part, quota), { discard: true })
  }

  /** Whoever takes the one unit of the window tells; a store that does not answer keeps nobody from it. */
  private tell({ key, limit, owner, spent }: Meter, threshold: number, counted: Quota): Effect.Effect<void> {
    const quota = { ...counted, ...(counted._tag === "Bucket" ? { capacity: 1 } : { limit: 1 }) }
    const first = this.store.take([{ key: `${key}@${threshold}`, amount: 1, quota }])
    const isFirst = Effect.catchCause(
      Effect.map(first, ({ _tag }) => _tag === "Granted"),
      () => Exit.succeed(true)
    )
    const endsAt = counted._tag === "Window" ? { endsAt: counted.endsAt } : {}
    return Effect.map(isFirst, (isFirst) => {
      if (!isFirst) return
      this.publish({
        budget: limit.name,
        window: limit.window,
        owner,
        threshold,
        spent,
        limit: limit.limit,
        ...endsAt
      })
    })
  }

  /** `publishUnsafe` does not slide, but refuses the newest. */
  private publish(alert: Alert): void {
    if (PubSub.publishUnsafe(this.published, alert)) return
    this.published.pubsub.slide()
    PubSub.publishUnsafe(this.published, alert)
  }

  /** A meter without an open reservation is made anew when it is needed; the store knows what was told of. */
  private sweep(): void {
    for (const [key, meter] of this.meters) if (meter.open === 0 && meter.waiting.length === 0) this.meters.delete(key)
    this.sweepAt = 2 * Math.max(512, this.meters.size)
  }
}
