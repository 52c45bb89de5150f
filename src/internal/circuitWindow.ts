/** What the last calls came to: the last so many, or those of the last time, as sums over plain numbers. */

/** The last `size` calls, or those of the last `span` milliseconds in ten parts, of which the oldest is cut short. */
export type WindowRule =
  | { readonly _tag: "calls"; readonly size: number }
  | { readonly _tag: "time"; readonly span: number }

export interface Window {
  /** That of the calls it holds. */
  rule?: WindowRule
  calls: number
  failures: number
  slow: number
  /** Of calls: what each of them was, in a ring. Of time: calls, failures and slow calls of each part, in a ring. */
  ring: Array<number>
  /** Where the next call goes; the number of the current part. */
  at: number
}

const parts = 10

const failed = 1
const wasSlow = 2

export const empty = (): Window => ({ calls: 0, failures: 0, slow: 0, ring: [], at: 0 })

/** Counts one call. By another rule than those before, as after a change of options, it is the first one. */
export const count = (window: Window, rule: WindowRule, now: number, failure: boolean, slow: boolean): void => {
  if (!isSame(window.rule, rule)) Object.assign(window, empty(), { rule })
  if (rule._tag === "calls") countCall(window, rule.size, (failure ? failed : 0) + (slow ? wasSlow : 0))
  else {
    slide(window, rule.span, now)
    const part = 3 * (window.at % parts)
    window.ring[part] = (window.ring[part] ?? 0) + 1
    if (failure) window.ring[part + 1] = (window.ring[part + 1] ?? 0) + 1
    if (slow) window.ring[part + 2] = (window.ring[part + 2] ?? 0) + 1
  }
  window.calls++
  if (failure) window.failures++
  if (slow) window.slow++
}

const isSame = (one: WindowRule | undefined, other: WindowRule): boolean => {
  if (one === undefined) return false
  return one._tag === "calls"
    ? other._tag === "calls" && one.size === other.size
    : other._tag === "time" && one.span === other.span
}

const countCall = (window: Window, size: number, call: number): void => {
  const before = window.ring[window.at]
  if (before !== undefined) {
    window.calls--
    if ((before & failed) !== 0) window.failures--
    if ((before & wasSlow) !== 0) window.slow--
  }
  window.ring[window.at] = call
  window.at = (window.at + 1) % size
}

/** Forgets what is past. */
export const refresh = (window: Window, now: number): void => {
  if (window.rule?._tag === "time") slide(window, window.rule.span, now)
}

/** A clock that was put back forgets nothing, unless by more than the span: then all of it, which would stay too long. */
const slide = (window: Window, span: number, now: number): void => {
  const current = Math.floor((now * parts) / span)
  if (window.ring.length === 0) {
    window.ring = Array.from({ length: 3 * parts }, () => 0)
    window.at = current
  }
  const gone = Math.min(parts, Math.abs(current - window.at))
  if (current < window.at && gone < parts) return
  for (let i = 1; i <= gone; i++) {
    const part = 3 * ((window.at + i) % parts)
    window.calls -= window.ring[part] ?? 0
    window.failures -= window.ring[part + 1] ?? 0
    window.slow -= window.ring[part + 2] ?? 0
    window.ring.fill(0, part, part + 3)
  }
  window.at = current
}
