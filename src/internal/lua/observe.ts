/** Lowers what is left of one entry to its amount, if more is left. */
import { accounts } from "./accounts.ts"

export const observe = `${accounts}
local a, amount = entries[1].account, entries[1].amount
if a.kind == "C" or left(a) <= amount then return 0 end
book[a.kind](a, left(a) - amount, now)
save[a.kind](a)
return 1
`
