/** How long answers are, learned from those that came: the 95th percentile of the last 256 of a model and feature. */
import { Quantile } from "./quantile.ts"

/** What is expected until twenty answers are known. */
const unlearned = 500
const mostKeys = 1000

export class ExpectedOutput {
  /** In order of use, the least recently used first. */
  private readonly known = new Map<string, Quantile>()

  /** Output tokens to reserve for the next answer; never more than the request allows. */
  expect(model: string, feature: string | undefined, maxOutputTokens: number = Infinity): number {
    return Math.min(this.touch(keyOf(model, feature))?.value ?? unlearned, maxOutputTokens)
  }

  /** An answer came with so many tokens, reasoning included; what is no count is not learned. */
  learn(model: string, feature: string | undefined, outputTokens: number): void {
    if (!Number.isSafeInteger(outputTokens) || outputTokens < 0) return
    const key = keyOf(model, feature)
    const known = this.touch(key)
    if (known !== undefined) return known.add(outputTokens)
    const first = new Quantile(0.95)
    first.add(outputTokens)
    this.known.set(key, first)
    if (this.known.size > mostKeys) this.known.delete(this.known.keys().next().value ?? "")
  }

  private touch(key: string): Quantile | undefined {
    const found = this.known.get(key)
    if (found !== undefined) {
      this.known.delete(key)
      this.known.set(key, found)
    }
    return found
  }
}

/** No feature differs from every feature's name. */
const keyOf = (model: string, feature: string | undefined): string =>
  feature === undefined ? `:${model}` : `${model.length}:${model}${feature}`
