/** Reads one HTML or PDF file in a thread of its own, which may be killed at any time. Headings come out as in Markdown. */
import { parentPort, workerData } from "node:worker_threads"
import { Parser } from "htmlparser2"
import { extractText, getDocumentProxy } from "unpdf"

const deepest = 256
const mostPages = 500
const hidden = new Set(["script", "style", "template", "noscript", "head"])
const inline = new Set("a abbr b bdi bdo cite code em i kbd mark q s small span strong sub sup u var wbr".split(" "))

const htmlText = (html: string): string => {
  let text = ""
  let depth = 0
  let hiddenAt = Infinity
  const parser = new Parser({
    onopentag(name) {
      if (++depth > deepest) throw new Error(`the elements are nested deeper than ${deepest}`)
      if (hidden.has(name)) hiddenAt = Math.min(hiddenAt, depth)
      const level = Number(/^h([1-6])$/.exec(name)?.[1] ?? 0)
      if (level > 0) text += `\n\n${"#".repeat(level)} `
      else if (!inline.has(name)) text += "\n\n"
    },
    ontext(piece) {
      if (hiddenAt === Infinity) text += piece.replaceAll(/\s+/g, " ")
    },
    onclosetag(name) {
      if (hiddenAt === depth--) hiddenAt = Infinity
      if (!inline.has(name)) text += "\n"
    }
  })
  parser.end(html)
  return text
}

const pdfText = async (bytes: Uint8Array): Promise<string> => {
  const pdf = await getDocumentProxy(bytes)
  if (pdf.numPages > mostPages) throw new Error(`the file has ${pdf.numPages} pages, at most ${mostPages} are read`)
  const { text } = await extractText(pdf)
  return text.map((page, i) => `# Page ${i + 1}\n\n${page}`).join("\n\n")
}

const { bytes, kind } = workerData as { readonly kind: string; readonly bytes: Uint8Array } // see `parsing.ts`
const text = kind === "pdf" ? await pdfText(bytes) : htmlText(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
parentPort?.postMessage(text, [])
