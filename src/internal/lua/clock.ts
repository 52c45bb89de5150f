/** The server's time, moved by the first argument. */
export const clock = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local longest = 10 * 365 * 86400000 -- a key lives for ten years at most
`

/** How numbers are written, and lives bounded. */
export const numbers = `
local int = function(n) return string.format("%.0f", n) end
local life = function(millis) return math.max(1, math.min(longest, math.ceil(millis))) end
`
