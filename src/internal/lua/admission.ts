/** What is answered: the entry that did not fit or -1, the time, what is left of each; of a denial how long to wait or -1. */
export const answers = `
local answer = function(denied, retryAfter)
  local reply = { denied, now }
  for i = 1, #entries do reply[2 + i] = left(entries[i].account) end
  if retryAfter then reply[#reply + 1] = math.min(retryAfter, 9e15) end
  return reply
end
`

/** Ends the script where not all entries fit. */
export const admission = `
local over = function(a)
  return a.taken + a.asked > a.limit + tolerance or (a.kind == "W" and (now < a.own1 or now >= a.own2))
end

local refused = function(denied)
  local longestWait = 0
  for _, a in pairs(opened) do
    if over(a) then
      local millis = a.asked <= a.limit and wait(a, a.taken + a.asked - a.limit)
      if not millis then return answer(denied - 1, -1) end
      longestWait = math.max(longestWait, millis)
    end
  end
  return answer(denied - 1, longestWait)
end

local denied
for i, entry in ipairs(entries) do
  local a = entry.account
  a.asked = a.asked + entry.amount
  if not denied and over(a) then denied = i end
end
if denied then return refused(denied) end
`
