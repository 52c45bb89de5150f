/** What is left of each entry, and in how many milliseconds it is whole again; -1 where time will not make it so. */
import { accounts } from "./accounts.ts"

export const read = `${accounts()}
local states = {}
for _, entry in ipairs(entries) do
  local a = entry.account
  local reset = 0
  if a.kind ~= "C" and a.taken > tolerance then reset = wait(a, a.taken) or -1 end
  states[#states + 1] = left(a)
  states[#states + 1] = math.min(reset, 9e15)
end
return states
`
