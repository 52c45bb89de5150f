/** What a check can say. */
import type { Verdict } from "../Guard.ts"

export const pass: Verdict = { _tag: "Pass" }

export const flag = (...kinds: ReadonlyArray<string>): Verdict => ({ _tag: "Flag", kinds })

export const block = (description: string): Verdict => ({ _tag: "Block", description })
