-- KEYS: a hash whose field n is the latest time that was written. Answers the time.
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[1], "n") or 0))
return string.format("%.0f", now)
