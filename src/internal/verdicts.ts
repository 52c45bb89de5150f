/** What a check can say. */
import type { Verdict } from "../Guard.ts"

/** Has nothing against it. */
export const pass: Verdict = { _tag: "Pass" }

/** Lets it pass, and tells of it: `kinds` are logged. */
export const flag = (...kinds: ReadonlyArray<string>): Verdict => ({ _tag: "Flag", kinds })

/** Fails the call with `InputRejected` or `OutputRejected`; the description is part of the error, and logged. */
export const block = (description: string): Verdict => ({ _tag: "Block", description })
