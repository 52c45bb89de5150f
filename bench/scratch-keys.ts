import { measure, table } from "./harness.ts"
import * as keys from "./keys.ts"
for (const s of Object.values(keys)) console.log(table(s, await measure(s)))
