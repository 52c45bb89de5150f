/** How long answers are, learned from those that came: the 95th percentile of the last 256 of a model and feature. */
import { Quantile } from "./quantile.ts"

/** What is expected until twenty answers are known. */
const unlearned = 500
const mostKeys = 500

/** How many tokens the next answer of a model will have, by feature: 500 until twenty are known. */
export class ExpectedOutput {
  /** By feature and model. What was not used since the last generation began is forgotten with the next one. */
  private young = new Map<string, Map<string, Quantile>>()
  private old = new Map<string, Map<string, Quantile>>()
  private count = 0

  /** Output tokens to reserve for the next answer; never more than the request allows. */
  expect(model: string, feature: string | undefined, maxOutputTokens: number = Infinity): number {
    return Math.min(this.find(model, feature)?.value ?? unlearned, maxOutputTokens)
  }

  /** An answer came with so many tokens, reasoning included; what is no count is not learned. */
  learn(model: string, feature: string | undefined, outputTokens: number): void {
    if (!Number.isSafeInteger(outputTokens) || outputTokens < 0) return
    const known = this.find(model, feature) ?? this.keep(model, feature, new Quantile(0.95))
    known.add(outputTokens)
  }

  private find(model: string, feature: string | undefined): Quantile | undefined {
    const name = nameOf(feature)
    const found = this.young.get(name)?.get(model)
    if (found !== undefined) return found
    const before = this.old.get(name)?.get(model)
    return before && this.keep(model, feature, before)
  }

  private keep(model: string, feature: string | undefined, quantile: Quantile): Quantile {
    if (this.count >= mostKeys) {
      this.old = this.young
      this.young = new Map()
      this.count = 0
    }
    const name = nameOf(feature)
    const models = this.young.get(name) ?? new Map<string, Quantile>()
    this.young.set(name, models.set(model, quantile))
    this.count++
    return quantile
  }
}

/** No feature differs from every feature's name. */
const nameOf = (feature: string | undefined): string => (feature === undefined ? "" : `:${feature}`)
