/**
 * Metrics of which every call changes several: numbers of our own, which the registry reads when somebody looks. To change one
 * is an addition, without a look-up in the registry.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

export class Count {
  value = 0
}

export class Distribution {
  private readonly boundaries: ReadonlyArray<number>
  private readonly buckets: Array<number>
  private count = 0
  private sum = 0
  private min = Number.MAX_VALUE
  private max = -Number.MAX_VALUE

  constructor(boundaries: ReadonlyArray<number>) {
    this.boundaries = boundaries
    this.buckets = Array.from({ length: boundaries.length }, () => 0)
  }

  add(value: number): void {
    const { boundaries, buckets } = this
    let at = 0
    while (at < boundaries.length && value > boundaries[at]!) at++ // below the length
    if (at < buckets.length) buckets[at]!++ // as many
    this.count++
    this.sum += value
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
  }

  get state(): Metric.HistogramState {
    let all = 0
    const buckets = this.boundaries.map((boundary, i): [number, number] => [boundary, (all += this.buckets[i] ?? 0)])
    return { buckets, count: this.count, min: this.min, max: this.max, sum: this.sum }
  }
}

type Registry = Context.Service.Shape<typeof Metric.MetricRegistry>
interface Shared {
  readonly known: Map<string, Count | Distribution>
  /** Who is told apart in them. */
  readonly models: Set<string>
}

/** By registry: two stacks in one program add to the same numbers, and have one bound of models. */
const all = new WeakMap<object, Shared>()

const ignore = (): void => {}

export class Series {
  private readonly context: Context.Context<never>
  private readonly known: Shared["known"]
  private readonly models: Shared["models"]

  constructor(registry: Registry) {
    // of a caller's context nothing else: neither its services, which would never be freed, nor attributes of its own
    this.context = Context.make(Metric.MetricRegistry, registry)
    const shared: Shared = all.get(registry) ?? { known: new Map(), models: new Set() }
    all.set(registry, shared)
    this.known = shared.known
    this.models = shared.models
  }

  /** Whether a model is told apart, where there may be so many. */
  admits(provider: string, model: string, most: number): boolean {
    const name = JSON.stringify([provider, model])
    if (!this.models.has(name) && this.models.size >= most) return false
    this.models.add(name)
    return true
  }

  count(metric: Metric.Counter<number>): Count {
    const key = nameOf(metric)
    const known = this.known.get(key)
    if (known instanceof Count) return known
    const made = new Count()
    const get = () => ({ count: made.value, incremental: true })
    Metric.registerUnsafe(metric, this.context, { get, update: ignore, modify: ignore })
    this.known.set(key, made)
    return made
  }

  distribution(metric: Metric.Histogram<number>, boundaries: ReadonlyArray<number>): Distribution {
    const key = nameOf(metric)
    const known = this.known.get(key)
    if (known instanceof Distribution) return known
    const made = new Distribution(boundaries)
    Metric.registerUnsafe(metric, this.context, { get: () => made.state, update: ignore, modify: ignore })
    this.known.set(key, made)
    return made
  }
}

const nameOf = ({
  attributes,
  id
}: {
  readonly id: string
  readonly attributes: Metric.Metric.AttributeSet | undefined
}): string => JSON.stringify([id, Object.entries(attributes ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))])
