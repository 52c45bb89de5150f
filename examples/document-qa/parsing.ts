/** From the bytes of a file to its text, and from a text to the passages that are searched. */
import { Worker } from "node:worker_threads"
import { Effect, Semaphore } from "effect"
import { Rejected } from "./api.ts"

/** What the injection guard looks at in one piece. */
const mostCharacters = 1_000_000

export interface Passage {
  /** The heading that it stands under, `""` where there is none. */
  readonly heading: string
  readonly from: number
  readonly to: number
  readonly text: string
}

/** The text of a file, which its name says the kind of. A file that cannot be read is `Rejected`. */
export const textOf = (name: string, bytes: Uint8Array): Effect.Effect<string, Rejected> =>
  Effect.gen(function* () {
    const kind = /\.(txt|md|html|pdf)$/i.exec(name)?.[1]?.toLowerCase()
    if (kind === undefined) return yield* rejected("The name must end in .txt, .md, .html or .pdf")
    const isText = kind === "txt" || kind === "md"
    const text = isText ? yield* plain(bytes) : yield* workers.withPermit(inWorker(kind, bytes))
    if (text.length > mostCharacters) return yield* rejected(`The text has more than ${mostCharacters} characters`)
    const clean = text.replaceAll("\0", "").replaceAll(/\r\n?/g, "\n")
    return clean.trim() === "" ? yield* rejected("There is no text in the file") : clean
  })

const rejected = (detail: string) => Effect.fail(new Rejected({ detail }))

const plain = (bytes: Uint8Array) =>
  Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => new Rejected({ detail: "The file is not UTF-8" })
  })

/** At most so many files are taken apart at the same time. */
const workers = Semaphore.makeUnsafe(2)

/** Whatever happens in there ends within 30 seconds, and with it the thread. */
const inWorker = (kind: string, bytes: Uint8Array): Effect.Effect<string, Rejected> =>
  Effect.callback<string, Rejected>((resume) => {
    const worker = new Worker(new URL("./parser.worker.ts", import.meta.url), {
      workerData: { kind, bytes },
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 512 },
      stdout: true,
      stderr: true
    })
    const unreadable = (why: string) => resume(rejected(`The file cannot be read: ${why}`))
    worker.once("error", (error) => unreadable(error instanceof Error ? error.message : "it is broken"))
    worker.once("exit", () => unreadable("its reader ended"))
    worker.once("message", (text: string) => {
      resume(Effect.succeed(text))
      void worker.terminate()
    })
    return Effect.promise(() => worker.terminate())
  }).pipe(Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => rejected("The file takes too long to read") }))

/**
 * Lines are put together up to 1,200 characters, and parted at headings and empty lines where that leaves no passage too
 * short; code in fences has no headings.
 */
export const passagesOf = (text: string): ReadonlyArray<Passage> => {
  const passages: Array<Passage> = []
  let last = ""
  let heading = ""
  let from = 0
  let isFenced = false
  const part = (at: number) => {
    const passage = text.slice(from, at)
    if (passage.trim() !== "") passages.push({ heading, from, to: at, text: passage.trim() })
    from = at
    heading = last
  }
  for (const { 0: line, index } of text.matchAll(/[^\n]{0,1199}\n|[^\n]{1,1200}/g)) {
    if (line.startsWith("```")) isFenced = !isFenced
    const title = isFenced ? undefined : /^#{1,6} +(.*\S)/.exec(line)?.[1]
    const length = index - from
    const isEnough = title !== undefined ? length >= 300 : line.trim() === "" && length >= 600
    if (isEnough || length + line.length > 1_200) part(index)
    if (title !== undefined) last = title.slice(0, 200)
    if (text.slice(from, index).trim() === "") heading = last
  }
  part(text.length)
  return passages
}
