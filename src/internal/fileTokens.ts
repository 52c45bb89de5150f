/** What files count for, by kind: a picture by its price, sound by its length, text by its words, a PDF by its size. */
import { Buffer } from "node:buffer"
import type * as Prompt from "effect/ai/Prompt"

/** A picture of about a megapixel, at what the dearer models take for it. */
const picture = 1600
/** A page with its picture; a PDF has one for each 50 kB, and ten when it lies behind a URL. */
const page = 2000
/** Most that a model takes for one picture at any size (gpt-4o-mini, 8 tiles: 48,169). */
const largestPicture = 50_000

export const estimate = (part: Prompt.FilePart, text: (text: string) => number): number => {
  if (part.mediaType.startsWith("image/")) return picture
  const bytes = bytesOf(part.data)
  if (bytes === undefined) return 10 * page
  if (part.mediaType === "application/pdf") return page * Math.max(1, Math.ceil(bytes.length / 50_000))
  if (part.mediaType.startsWith("audio/")) return Math.ceil(bytes.length / 1000)
  return text(bytes.toString("utf8"))
}

/** Never less than what the file costs; `Infinity` for a PDF, which is compressed, and for what lies behind a URL. */
export const bound = (part: Prompt.FilePart): number => {
  if (part.mediaType.startsWith("image/")) return largestPicture
  return part.mediaType === "application/pdf" ? Infinity : (bytesOf(part.data)?.length ?? Infinity)
}

const bytesOf = (data: Prompt.FilePart["data"]): Buffer | undefined => {
  if (data instanceof Uint8Array) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const text = String(data)
  if (/^https?:/i.test(text)) return undefined
  return Buffer.from(text.startsWith("data:") ? text.slice(text.indexOf(",") + 1) : text, "base64")
}
