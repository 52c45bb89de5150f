/**
 * Letters that look like Latin ones, replaced by them. From the confusables of Unicode TR39, cut down to what looks like a
 * letter of English at a glance, with small capitals, letters turned upside down and letters in boxes.
 */

/** A Latin letter and what is read as it. Compatibility forms (full-width, mathematical ...) are left to NFKC. */
const alike: ReadonlyArray<readonly [letter: string, signs: string]> = [
  ["a", "аАɑαΑᴀɐДᎪꓮꭺ∀"],
  ["b", "ЬьбВвΒβʙᏴꓐɓ"],
  ["c", "сСϲϹᴄςↄɔⅽᏟꓚƈ"],
  ["d", "ԁԀᴅժdɖɗᎠꓓđ"],
  ["e", "еЕєЄэЭεΕᴇɘǝəҽᎬꓰ℮ɛ"],
  ["f", "ғҒꜰƒϝẝꓝ"],
  ["g", "ɡɢԍԌƃᏀꓖց"],
  ["h", "һҺНнʜɥΗᎻꓧհ"],
  ["i", "іІιΙɪıᴉᎥɩӀꓲⅰ"],
  ["j", "јЈᴊϳɉᎫꓙյ"],
  ["k", "кКκΚᴋʞᏦꓗƙ"],
  ["l", "ʟⅼӏɭᏞꓡℓɫ"],
  ["m", "мМΜᴍɯⅿᎷꓟϻ"],
  ["n", "пПиИηΝɴոռᴎꓠƞ"],
  ["o", "оОοΟσᴏօՕסഠꓳΘθø"],
  ["p", "рРρΡᴘᑭᏢꓑþ"],
  ["q", "ԛԚզɋϙ"],
  ["r", "гГяЯʀɹɾᎡꓣᏒ"],
  ["s", "ѕЅꜱꓢᏚʂ§"],
  ["t", "тТτΤᴛʇᎢꓔ†"],
  ["u", "υսцЦᴜʋꓴՍ"],
  ["v", "νѵѴᴠʌⅴᏙꓦ"],
  ["w", "шШщЩωѡԝԜᴡʍᎳꓪա"],
  ["x", "хХχΧжЖⅹꓫ×"],
  ["y", "уУүҮγΥʏʎчЧᎩꓬ"],
  ["z", "ᴢΖζᏃꓜʐ"]
]

const letters = new Map<string, string>()
for (const [letter, signs] of alike) {
  for (const sign of signs) {
    if (sign > "\u007f" && !letters.has(sign))
      letters.set(sign, sign === sign.toLowerCase() ? letter : letter.toUpperCase())
  }
}
for (let i = 0; i < 26; i++) {
  const letter = String.fromCodePoint(97 + i)
  // regional indicators, negative circles, negative squares
  for (const first of [0x1f1e6, 0x1f150, 0x1f170]) letters.set(String.fromCodePoint(first + i), letter)
}

const alternatives = [...letters.keys()].filter((sign) => /^[^\p{M}]$/u.test(sign)).join("")
const any = new RegExp(`[${alternatives}]`, "u")
const word = new RegExp(`[\\p{L}\\p{N}${alternatives}]+`, "gu")

/**
 * The text with every word in Latin letters that can be read as one of them. A word stays as it is when one of its letters
 * looks like no Latin letter, so that most of a Russian or Greek text does not change.
 */
export const latin = (text: string): string => (any.test(text) ? text.replace(word, read) : text)

const read = (found: string): string => {
  let out = ""
  for (const character of found) {
    if (character <= "\u007f") out += character
    else {
      const letter = letters.get(character)
      if (letter === undefined) return found
      out += letter
    }
  }
  return out
}

const turned: Readonly<Record<string, string>> = { n: "u", u: "n", d: "p", p: "d", b: "q", q: "b" }
const upside = /[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ]/gu
const upsideLetters: Readonly<Record<string, string>> = { ɾ: "j", ɟ: "f" }

/** The letters of a text written upside down, in their order; `undefined` where nothing shows that it is one. */
export const upright = (text: string): string | undefined => {
  const found = text.match(upside)
  if (found === null || found.length < 3) return undefined
  let out = ""
  for (const character of text) {
    const letter = upsideLetters[character] ?? letters.get(character) ?? character
    out += turned[letter] ?? letter
  }
  return out
}
