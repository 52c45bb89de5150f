/** Replaces what a lease took by what was used, once; a lease that is not known is marked, so that it cannot be taken. */
import { accounts } from "./accounts.ts"
import { money } from "./money.ts"

const account = `
local account = function(entry)
  local a = entry.account
  if not a.open then open(a) end
  a.open = true
  return a
end
`

const freeing = `
    local a, name = account(entry), member(i, entry.amount)
    local expires = redis.call("ZSCORE", a.key, name)
    if expires and tonumber(expires) > now then
      redis.call("ZREM", a.key, name)
      a.taken = a.taken - entry.amount
    end
`

const saving = `
for _, a in pairs(opened) do
  if a.open then save(a) end
end
`

/** Of its own: how long that is remembered, and what was used of each entry. */
export const settle = `${accounts(true)}
local at = redis.call("GET", lease)
-- taken by somebody who knows its entries
if at and at ~= "settled" and count == 0 then return 0 end
redis.call("SET", lease, "settled", "PX", ARGV[own + 1])
if not at or at == "settled" then return 0 end
${account}
for i, entry in ipairs(entries) do
  local used = tonumber(ARGV[own + 1 + i])
  if entry.account.kind ~= "C" then
    if used ~= entry.amount then correct(account(entry), entry.amount, used, tonumber(at)) end
  else${freeing}  end
end${saving}return 1
`

/**
 * The same where money was taken, and the line of it. Of its own: how long that is remembered, what was used of each entry,
 * the epoch that granted it or nothing where nobody heard of that, the subject, the charge in six, and the name of each account of money or nothing.
 *
 * A lease that is not known although Redis has lost the epoch that granted it is booked as if nothing had been reserved, by
 * its entries of money; 2 where a durable ledger has yet to give back the counters.
 */
export const settleMoney = `${accounts(true)}${money}
local mine = own + 1 + count
local record = redis.call("GET", lease)
if record == "settled" then return 0 end
local lost, overdue, at = false, false, now
if record then
  overdue = string.sub(record, 1, 1) == "x"
  at = tonumber(string.match(record, "%d+"))
else
  local epoch = redis.call("GET", epochKey)
  lost = ARGV[mine + 1] ~= "" and epoch ~= ARGV[mine + 1]
  if lost and durable and not epoch then return 2 end
end
redis.call("SET", lease, "settled", "PX", ARGV[own + 1])
if not record and not lost then return 0 end
redis.call("ZREM", expiriesKey, lease)
${account}
local about, first, changes, postings = split(ARGV[mine + 2]), nil, false, {}
for i, entry in ipairs(entries) do
  local used, name = tonumber(ARGV[own + 1 + i]), ARGV[mine + 8 + i]
  local before = lost and 0 or entry.amount
  if lost and name == "" then
    used = 0
  elseif entry.account.kind ~= "C" then
    if used ~= before then correct(account(entry), before, used, at) end
  else${freeing}  end
  if name ~= "" then
    local a, amount = entry.account, overdue and used - entry.amount or used
    first, changes = first or amount, changes or amount ~= 0
    if amount ~= 0 then
      postings[#postings + 1] = posting(a.kind, a.own1, a.own2, math.min(at, now), name, amount)
    end
  end
end${saving}
local charge = {}
for i = 1, 6 do charge[i] = ARGV[mine + 2 + i] end
for i = 4, 6 do charge[i] = tonumber(charge[i]) end
if charge[1] == "" and not changes then return 1 end
local id = about[1]
if overdue then
  charge[1], id = "corrected", string.sub(id, 1, -2) .. '/late"'
elseif charge[1] == "" then
  charge[1] = "lost"
end
write(about, id, first, charge, postings)
return 1
`
