/** Books a charge that nothing was reserved for, whatever the quotas hold, once. */
import { accounts } from "./accounts.ts"
import { guarded, money } from "./money.ts"

/** Of its own: how long it is remembered, the epoch, the subject, the amount, the charge in six, the accounts' names. */
export const post = `${accounts()}${money}${guarded("ARGV[own + 2]")}
if redis.call("EXISTS", lease) == 1 then return 0 end
redis.call("SET", lease, "settled", "PX", ARGV[own + 1])

local book = function(a, amount)
  local before = a.taken
  if a.kind == "R" then
    bookRolling(a, amount, now)
  else
    a.taken = math.max(0, before + amount)
  end
  return a.taken - before
end

local postings = {}
for i, entry in ipairs(entries) do
  local a = entry.account
  local changed = book(a, entry.amount)
  if changed ~= 0 then
    postings[#postings + 1] = posting(a.kind, a.own1, a.own2, now, ARGV[own + 10 + i], changed)
  end
end
for _, a in pairs(opened) do save(a) end
local charge = {}
for i = 1, 6 do charge[i] = ARGV[own + 4 + i] end
for i = 4, 6 do charge[i] = tonumber(charge[i]) end
local about = split(ARGV[own + 3])
write(about, about[1], tonumber(ARGV[own + 4]), charge, postings)
return 1
`
