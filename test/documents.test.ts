/** Code in the documents is code that runs: every block that names a file is equal to that file. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"

const root = new URL("../", import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), "utf8")

const documents = [
  "README.md",
  "AGENTS.md",
  "CHANGELOG.md",
  ...readdirSync(new URL("docs/", root)).map((f) => `docs/${f}`)
]

describe.each(documents)("%s", (document) => {
  const text = read(document)

  it.each([...text.matchAll(/^```ts (\S+)\n([\s\S]*?)^```/gm)].map((match) => [match[1] ?? "", match[2] ?? ""]))(
    "shows %s as it is",
    (file, code) => {
      assert.strictEqual(code, read(file))
    }
  )

  it("links to files that exist", () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? "")
    const base = new URL(document, root)
    assert.deepStrictEqual(
      links.filter((link) => !existsSync(new URL(link, base))),
      []
    )
  })
})
