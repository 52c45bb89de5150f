/** Reads one file in a thread of its own, which may be killed at any time. Headings come out as in Markdown. */
import { parentPort, workerData } from "node:worker_threads"

/** What the injection guard looks at in one piece. */
const mostCharacters = 1_000_000
const mostPages = 500
const deepest = 256
const hidden = new Set(["script", "style", "template", "noscript", "head"])
const inline = new Set("a abbr b bdi bdo cite code em i kbd mark q s small span strong sub sup u var wbr".split(" "))

const utf8 = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes)

const html = async (bytes: Uint8Array): Promise<string> => {
  const { Parser } = await import("htmlparser2")
  let text = ""
  let depth = 0
  let hiddenAt = Infinity
  const parser = new Parser({
    onopentag(name) {
      if (++depth > deepest) throw new Error(`its elements are nested deeper than ${deepest}`)
      if (hidden.has(name)) hiddenAt = Math.min(hiddenAt, depth)
      const level = Number(/^h([1-6])$/.exec(name)?.[1] ?? 0)
      if (!inline.has(name)) text += `\n\n${"#".repeat(level)} `
    },
    ontext(piece) {
      if (hiddenAt === Infinity) text += piece.replaceAll(/\s+/g, " ")
    },
    onclosetag(name) {
      if (hiddenAt === depth--) hiddenAt = Infinity
      if (!inline.has(name)) text += "\n"
    }
  })
  parser.end(utf8(bytes))
  return text
}

const pdf = async (bytes: Uint8Array): Promise<string> => {
  const { extractText, getDocumentProxy } = await import("unpdf")
  const pdf = await getDocumentProxy(bytes)
  if (pdf.numPages > mostPages) throw new Error(`it has ${pdf.numPages} pages, at most ${mostPages} are read`)
  const { text } = await extractText(pdf)
  return text.map((page, i) => `# Page ${i + 1}\n\n${page}`).join("\n\n")
}

const { bytes, name } = workerData as { readonly name: string; readonly bytes: Uint8Array } // see `parsing.ts`
const kind = /\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? ""
const read = new Map(Object.entries({ txt: utf8, md: utf8, html, pdf })).get(kind)
if (read === undefined) throw new Error("its name must end in .txt, .md, .html or .pdf")
const text = (await read(bytes)).replaceAll("\0", "").replaceAll(/\r\n?/g, "\n")
if (text.length > mostCharacters) throw new Error(`its text has more than ${mostCharacters} characters`)
if (text.trim() === "") throw new Error("there is no text in it")
parentPort?.postMessage(text, [])
