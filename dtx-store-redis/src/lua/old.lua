-- KEYS: lease, index by time. ARGV: age in microseconds, how many. Answers members and times.
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[1], "n") or 0))
local before = string.format("%.0f", now - tonumber(ARGV[1]))
return redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", before, "WITHSCORES", "LIMIT", 0, ARGV[2])
