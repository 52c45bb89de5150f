/** Shapes of JSON web tokens and of private keys. */
import { Buffer } from "node:buffer"
import { chars, check, either, maybe, notBefore, oneOf, type Pattern, seq, set, text } from "./pattern.ts"
import type { Shape } from "./redactor.ts"

const alphanumeric = set("0-9A-Za-z")
const base64 = either(alphanumeric, set("+/="))

/** Base64 that is a JWT's header: JSON that names an algorithm. */
const isHeader = (found: string): boolean => {
  const decoded = Buffer.from(found, "base64url").toString("latin1")
  return decoded.startsWith("{") && /"alg"\s*:/.test(decoded)
}

const longestHeader = 256
const segment = set("0-9A-Za-z_-")

/** A token of RFC 7519, signed, encrypted or neither: `header.payload.signature`. A header alone is no secret. */
export const jwtShapes: ReadonlyArray<Shape> = [
  {
    head: seq(
      oneOf(
        seq(check(seq(text("eyJ"), chars(segment, 10, longestHeader)), isHeader), text("."), maybe(text("."))),
        check(seq(text("eyJ"), chars(segment, longestHeader)), isHeader)
      ),
      chars(segment, 2)
    ),
    tail: { step: oneOf(chars(segment, 1), seq(text("."), maybe(text(".")), chars(segment, 1))) }
  }
]

const capitals = set("0-9A-Z ")
const lineEnd = oneOf(chars(set(" \t\r\n\"'+|>,"), 1), text("\\n"), text("\\r"))
const body = oneOf(
  ...["Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Hash:", "Charset:"].map((name) => text(name)),
  check(chars(base64, 16), (found) => !/^[A-Z]?[a-z]+$/.test(found))
)
const times = (pattern: Pattern, most: number): Pattern =>
  Array.from({ length: most }).reduce<Pattern>((after) => maybe(seq(pattern, after)), maybe(pattern))

/**
 * A private key in PEM (PKCS#1, PKCS#8, SEC 1, OpenSSH) or of PGP, its line ends perhaps written as `\n`. Goes on to its END
 * line, to the end of a fenced block or for 32,768 characters, so that no part of it is passed on where it was broken off.
 */
export const privateKeyShapes: ReadonlyArray<Shape> = [
  {
    head: seq(
      oneOf(text("-----BEGIN "), text("---- BEGIN ")),
      check(chars(capitals, 11, 40), (found) => /^(?:[0-9A-Z]+ )*PRIVATE KEY(?: BLOCK)?\s?$/.test(found)),
      text("----"),
      chars(set("-"), 0, 1),
      times(lineEnd, 12),
      body
    ),
    tail: {
      step: chars(either(alphanumeric, set(" -~\n\r\t")), 1),
      last: oneOf(
        seq(oneOf(text("-----END "), text("---- END ")), chars(capitals, 1, 40), text("----"), chars(set("-"), 0, 1)),
        seq(text("```"), notBefore(set("`")))
      ),
      limit: 32_768
    },
    anywhere: true
  }
]
