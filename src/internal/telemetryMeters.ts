/** The metrics of calls and attempts, with as many models told apart as are allowed. */
import * as Metrics from "../Metrics.ts"
import type { Attempt, Receipt } from "../Receipt.ts"
import type { Count, Distribution, Series } from "./telemetrySeries.ts"

const { latencyBoundaries, tokenBoundaries } = Metrics

type Own = ReturnType<typeof Metrics.ofModel>
type Counted = "success" | "error" | "inputTokens" | "outputTokens" | "cost" | "retries"
type Measured = "latency" | "firstToken" | "inputUsage" | "outputUsage"

/** The metrics of one provider and model, or of all others. Each is made when it has something to tell. */
class Meters {
  readonly name: string
  private readonly of: Own
  private readonly series: Series
  private readonly counts: { [K in Counted]?: Count } = {}
  private readonly measures: { [K in Measured]?: Distribution } = {}
  private readonly attempts = new Map<string, Count>()
  private readonly durations = new Map<string | undefined, Distribution>()
  /** Of attempts that succeed, as most do. */
  private succeeded: { readonly count: Count; readonly duration: Distribution } | undefined

  constructor(provider: string, model: string, series: Series) {
    this.name = `${provider}/${model}`
    this.of = Metrics.ofModel(provider, model)
    this.series = series
  }

  attempt({ cost, inputTokens, latency, outcome, outputTokens, reason }: Attempt): void {
    if (outcome === "success") {
      this.succeeded ??= { count: this.attemptsOf(outcome), duration: this.durationOf(undefined) }
      this.succeeded.count.value++
      this.succeeded.duration.add(latency / 1000)
    } else {
      this.attemptsOf(outcome).value++
      if (outcome === "refused") return
      this.durationOf(reason ?? outcome).add(latency / 1000)
    }
    if (inputTokens !== undefined) {
      this.count("inputTokens").value += inputTokens
      this.measure("inputUsage", tokenBoundaries).add(inputTokens)
    }
    if (outputTokens !== undefined) {
      this.count("outputTokens").value += outputTokens
      this.measure("outputUsage", tokenBoundaries).add(outputTokens)
    }
    if (cost !== undefined && cost > 0) this.count("cost").value += cost / 1e9
  }

  call({ firstPart, latency }: Receipt, isSuccess: boolean, cached: Distribution | undefined): void {
    this.count(isSuccess ? "success" : "error").value++
    if (cached !== undefined) return cached.add(latency / 1000)
    this.measure("latency", latencyBoundaries).add(latency / 1000)
    if (firstPart !== undefined) this.measure("firstToken", latencyBoundaries).add(firstPart / 1000)
  }

  retry(): void {
    this.count("retries").value++
  }

  private count(name: Counted): Count {
    return (this.counts[name] ??= this.series.count(this.of[name]))
  }

  private measure(name: Measured, boundaries: ReadonlyArray<number>): Distribution {
    return (this.measures[name] ??= this.series.distribution(this.of[name], boundaries))
  }

  private attemptsOf(outcome: string): Count {
    const known = this.attempts.get(outcome)
    if (known !== undefined) return known
    return once(this.attempts, outcome, () => this.series.count(this.of.attempts(outcome)))
  }

  private durationOf(error: string | undefined): Distribution {
    const known = this.durations.get(error)
    if (known !== undefined) return known
    return once(this.durations, error, () => this.series.distribution(this.of.duration(error), latencyBoundaries))
  }
}

const once = <K, A>(known: Map<K, A>, key: K, make: () => A): A => {
  const found = known.get(key)
  if (found !== undefined) return found
  const made = make()
  known.set(key, made)
  return made
}

export class AllMeters {
  private readonly most: number
  private readonly series: Series
  private readonly known = new Map<string, Map<string, Meters>>()
  private readonly others: Meters
  private readonly counts = new Map<string, Count>()
  private cached: Distribution | undefined
  /** Whom the last question was about: mostly it is the same. */
  private last: { readonly provider: string; readonly model: string; readonly meters: Meters } | undefined

  constructor(most: number, series: Series) {
    this.most = most
    this.series = series
    this.others = new Meters("other", "other", series)
  }

  private of(provider: string, model: string): Meters {
    const { last } = this
    if (last?.provider === provider && last.model === model) return last.meters
    const meters = this.find(provider, model)
    this.last = { provider, model, meters }
    return meters
  }

  private find(provider: string, model: string): Meters {
    const found = this.known.get(provider)?.get(model)
    if (found !== undefined) return found
    if (!this.series.admits(provider, model, this.most)) return this.others
    const made = new Meters(provider, model, this.series)
    once(this.known, provider, () => new Map<string, Meters>()).set(model, made)
    return made
  }

  /** An attempt, and how it followed the one before it. */
  attempt(attempt: Attempt, before: Attempt | undefined): void {
    const meters = this.of(attempt.provider, attempt.model)
    meters.attempt(attempt)
    if (before === undefined) return
    const from = this.find(before.provider, before.model)
    if (from === meters) meters.retry()
    else this.count(`${from.name} ${meters.name}`, () => Metrics.fallbacks(from.name, meters.name))
  }

  call(receipt: Receipt, isSuccess: boolean): void {
    const { model, provider, source } = receipt
    const isCached = source === "cache" || source === "semanticCache"
    if (isCached) this.cached ??= this.series.distribution(Metrics.cacheLatency, latencyBoundaries)
    this.of(provider, model).call(receipt, isSuccess, isCached ? this.cached : undefined)
  }

  degraded(rung: string): void {
    this.count(`rung ${rung}`, () => Metrics.degraded(rung))
  }

  private count(name: string, metric: () => Parameters<Series["count"]>[0]): void {
    once(this.counts, name, () => this.series.count(metric())).value++
  }
}
