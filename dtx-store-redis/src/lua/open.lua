-- KEYS: lease, due. ARGV: from, to, how many. Answers the time and places in the order of due.
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[1], "n") or 0))
local due = redis.call("ZRANGEBYLEX", KEYS[2], ARGV[1], ARGV[2], "LIMIT", 0, ARGV[3])
return { string.format("%.0f", now), due }
