/** From the bytes of a file to its text, and from a text to the passages that are searched. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { Effect, Semaphore } from "effect"
import { Rejected } from "./api.ts"

const rejected = (why: string) => new Rejected({ detail: `The file cannot be read: ${why}` })
const file = new URL("./parser.worker.ts", import.meta.url)
const options = { execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 512 }, stdout: true, stderr: true }

/** At most so many files are taken apart at the same time. */
const threads = Semaphore.makeUnsafe(2)

/** The text of a file, which its name says the kind of. Whatever happens in there ends within 30 seconds. */
export const textOf = (name: string, bytes: Uint8Array): Effect.Effect<string, Rejected> =>
  Effect.tryPromise({
    try: async (signal) => {
      const worker = new Worker(file, { ...options, workerData: { name, bytes } })
      try {
        return String((await once(worker, "message", { signal }))[0])
      } finally {
        await worker.terminate()
      }
    },
    catch: (error) => rejected(error instanceof Error ? error.message : "it is broken")
  }).pipe(
    Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => Effect.fail(rejected("it takes too long")) }),
    (reading) => threads.withPermit(reading)
  )

/** Parted at headings; what is long there is parted at 1,200 characters, behind an empty line or a word where there is one. */
export const passagesOf = (text: string) => {
  const passages: Array<{ heading: string; passage: number; from: number; to: number; text: string }> = []
  for (const { 0: section, index: start } of text.matchAll(/[^]+?(?=^#{1,6} |(?![^]))/gm)) {
    const heading = /^#{1,6} +(.*\S)/.exec(section)?.[1]?.slice(0, 200) ?? ""
    for (const { 0: part, index } of section.matchAll(/[^]{1,1198}(?:\n\n|(?![^]))|[^]{1,1199}\s|[^]{1,1200}/gu)) {
      const place = { passage: passages.length + 1, from: start + index, to: start + index + part.length }
      if (/^(?!#).*\S/m.test(part)) passages.push({ heading, ...place, text: part.trim() })
    }
  }
  return passages
}
