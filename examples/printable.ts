/** Text of a model as a terminal may show it: escape sequences and other control characters are taken out. */
export const printable = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (c) => (c === "\n" ? c : ""))
