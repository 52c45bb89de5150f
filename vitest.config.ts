import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = fileURLToPath(new URL("./src/", import.meta.url))

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup.ts"]
  },
  resolve: {
    alias: [
      { find: /^effect-ballast$/, replacement: `${src}index.ts` },
      { find: /^effect-ballast\/testing$/, replacement: `${src}testing/index.ts` },
      { find: /^effect-ballast\/(.*)$/, replacement: `${src}$1.ts` }
    ]
  }
})
