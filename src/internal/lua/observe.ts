/** Lowers what is left of one entry to its amount, if more is left. */
import { accounts } from "./accounts.ts"

export const observe = `${accounts()}
local a, amount = entries[1].account, entries[1].amount
if a.kind == "C" or left(a) <= amount then return 0 end
take(a, left(a) - amount)
save(a)
return 1
`
