/** What is written in another alphabet inside a text: base64, hexadecimal, lists of character codes, escapes. */
import { Buffer } from "node:buffer"

export interface Decoded {
  readonly name: string
  readonly text: string
}

/** Lines that follow are part of it if there is nothing else on them. */
const base64 = /[A-Za-z0-9+/_-]{16,}={0,2}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+={0,2}(?=[ \t]*(?:[\r\n]|$)))*/g
/** Behind what is none, so that it is tried once a word. */
const longRun = /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16}/
const hex = /(?:(?:0x|\\x|u\+00)?[0-9a-f]{2}[\s,;:-]{0,2}){8,}/gi
const decimal = /(?<!\d)\d{2,7}(?:[\s,;]{1,2}\d{2,7}){7,}(?!\d)/g
const binary = /(?:[01]{8}[\s,]{0,2}){8,}/g

/** All that a text holds in one encoding is one text, each piece on a line of its own; only what is text afterwards counts. */
export const decoded = (text: string): ReadonlyArray<Decoded> => {
  const out: Array<Decoded> = []
  const add = (name: string, found: ReadonlyArray<string | undefined>) => {
    const texts = found.filter((one) => one !== undefined)
    if (texts.length > 0) out.push({ name, text: texts.join("\n") })
  }
  if (longRun.test(text)) add("base64", fromBase64(text))
  if (!/[0-9a-f]{2}/i.test(text)) return out
  add(
    "hex",
    Array.from(text.matchAll(hex), ([run]) => readable(Buffer.from(bare(run), "hex")))
  )
  if (!/\d\d/.test(text)) return out
  add(
    "codes",
    Array.from(text.matchAll(decimal), ([run]) => fromCodes(run))
  )
  add(
    "binary",
    Array.from(text.matchAll(binary), ([run]) => fromBits(run))
  )
  return out
}

const bare = (run: string): string => run.replace(/0x|\\x|u\+00|[^0-9a-f]/gi, "")

const fromBase64 = (text: string): ReadonlyArray<string | undefined> => {
  const out: Array<string | undefined> = []
  for (const [run] of text.matchAll(base64)) {
    const lines = run.split(/[\s=]+/)
    const whole = anyWay(lines.join(""))
    out.push(whole)
    if (whole === undefined && lines.length > 1) {
      for (const line of lines) if (line.length >= 16) out.push(anyWay(line))
    }
  }
  return out
}

/** In swapped case and backwards too, unless it is as short as names in programs are. */
const anyWay = (run: string): string | undefined => {
  const text = readable(Buffer.from(run, "base64"))
  if (text !== undefined || run.length < 24) return text
  return (
    readable(Buffer.from(run.replace(/[a-z]+|[A-Z]+/g, otherCase), "base64")) ??
    readable(Buffer.from([...run].toReversed().join(""), "base64"))
  )
}

const otherCase = (run: string): string => (run < "a" ? run.toLowerCase() : run.toUpperCase())

/** Bytes in decimal or in octal, or code points: all that make a text. */
const fromCodes = (run: string): string | undefined => {
  const written = run.split(/[\s,;]+/)
  const octal = written.map((one) => Number.parseInt(one, 8))
  const codes = written.map(Number)
  const found = [fromBytes(codes), sound(codes.map((code) => character(code, "\0")).join("")), fromBytes(octal)]
  const texts = new Set(found.filter((one) => one !== undefined))
  return texts.size === 0 ? undefined : [...texts].join("\n")
}

const fromBytes = (codes: ReadonlyArray<number>): string | undefined =>
  codes.some((code) => code > 255) ? undefined : readable(Buffer.from(codes))

const fromBits = (run: string): string | undefined => {
  const bits = run.replace(/[^01]/g, "")
  const bytes = Buffer.alloc(bits.length >> 3)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(bits.slice(i * 8, i * 8 + 8), 2)
  return readable(bytes)
}

/** The text of UTF-8 or UTF-16LE. */
const readable = (bytes: Buffer): string | undefined => {
  if (bytes.length < 4) return undefined
  if (bytes[1] === 0 && bytes[3] === 0) return sound(bytes.toString("utf16le"))
  const text = sound(bytes.toString())
  if (text !== undefined || bytes.length < 18 || bytes.length % 2 === 1) return text
  const wide = bytes.toString("utf16le")
  return words.test(wide) ? wide : undefined
}

/** Other scripts in UTF-16 have no bytes of zero: nothing but what texts are made of. */
const words = /^[\p{L}\p{M}\p{N}\p{P}\p{Zs}\n\r]+$/u

/** At most a tenth of it may be anything that no text holds. */
const sound = (text: string): string | undefined => {
  let bad = Math.floor(text.length / 10)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    const fine = code >= 32 ? (code < 127 || code > 159) && code !== 0xfffd : code === 9 || code === 10 || code === 13
    if (!fine && bad-- === 0) return undefined
  }
  return text
}

const url = /(?:%[0-9a-f]{2})+|%u[0-9a-f]{4}|(?:=[0-9a-f]{2}){3,}/gi
const html = /&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]{2,8}));?/gi
const script = /\\u\{([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|((?:\\[0-7]{3})+)|\\([nrt"'/\\])/gi

/** Stars that make a part of a word or of a link bold, or words one by one; none of `**Note**: ...`. */
const bold = /[\p{L}\p{N}]\*\*(?:[\p{L}\p{N}/@_]|:\/|['.]\*\*[\p{L}\p{N}]| \*\*[\p{L}\p{N}])|[/@_|<]\*\*[\p{L}\p{N}]/u

/**
 * One level of escapes (URL, HTML, JSON and JavaScript) and of Markdown within words, read in place; `undefined` where
 * there are none.
 */
export const unescaped = (text: string): Decoded | undefined => {
  const names: Array<string> = []
  const step = (name: string, before: string, after: string): string => {
    if (after !== before) names.push(name)
    return after
  }
  let out = text
  if (/[%=]/.test(out)) out = step("url", out, out.replace(url, fromUrl))
  if (out.includes("&")) out = step("html", out, out.replace(html, fromHtml))
  if (out.includes("\\")) out = step("escapes", out, out.replace(script, fromScript))
  if (out.includes("**") && bold.test(out)) out = step("markdown", out, out.replaceAll("**", ""))
  return names.length === 0 ? undefined : { name: names.join("+"), text: out }
}

const fromUrl = (run: string): string =>
  /^%u/i.test(run)
    ? character(Number.parseInt(run.slice(2), 16), run)
    : Buffer.from(run.replace(/[%=]/g, ""), "hex").toString("utf8")

const fromHtml = (run: string, hexCode?: string, code?: string, name?: string): string => {
  if (hexCode !== undefined) return character(Number.parseInt(hexCode, 16), run)
  if (code !== undefined) return character(Number(code), run)
  return entities[name?.toLowerCase() ?? ""] ?? run
}

const fromScript = (
  run: string,
  braced?: string,
  four?: string,
  two?: string,
  octal?: string,
  sign?: string
): string => {
  if (sign !== undefined) return signs[sign.toLowerCase()] ?? sign
  if (octal !== undefined) return Buffer.from(octal.slice(1).split("\\").map(fromOctal)).toString()
  return character(Number.parseInt(braced ?? four ?? two ?? "", 16), run)
}

const fromOctal = (digits: string): number => Number.parseInt(digits, 8) & 255

const character = (code: number, otherwise: string): string =>
  code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : otherwise

const signs: Readonly<Record<string, string>> = { n: "\n", r: "\n", t: " " }

/** The named ones of ASCII and of spaces. */
const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
  ensp: " ",
  emsp: " ",
  thinsp: " ",
  tab: " ",
  newline: "\n",
  shy: "",
  zwj: "",
  zwnj: "",
  excl: "!",
  num: "#",
  percnt: "%",
  lpar: "(",
  rpar: ")",
  ast: "*",
  plus: "+",
  comma: ",",
  period: ".",
  sol: "/",
  bsol: "\\",
  colon: ":",
  semi: ";",
  equals: "=",
  quest: "?",
  commat: "@",
  lsqb: "[",
  rsqb: "]",
  lbrack: "[",
  rbrack: "]",
  lcub: "{",
  rcub: "}",
  lowbar: "_",
  grave: "`",
  vert: "|",
  hyphen: "-"
}
