/** What one call says to the cache, over an effect or a stream; `Cache` has the words for it. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"

/** What calls want of a cache. A semantic cache has no part in them unless it is `"use"`, and keeps to its own time. */
export interface Control {
  /** `"bypass"`: as if there were no cache. `"refresh"`: asks, and keeps the new answer. */
  readonly mode: "use" | "bypass" | "refresh"
  /** How long the answer may be given again, instead of what the cache says. */
  readonly timeToLive?: Duration.Duration | undefined
}

/** What the running fiber wants; the mode `"use"` by default. */
export const CacheControl: Context.Reference<Control> = Context.Reference<Control>("ballast/CacheControl", {
  defaultValue: () => use
})

const use: Control = { mode: "use" }
