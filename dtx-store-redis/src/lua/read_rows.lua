-- KEYS: rows and meta of one scope. ARGV: keys. Answers the time, then a row or nothing per key.
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[2], "n") or 0))
local answers = { string.format("%.0f", now) }
for i = 1, #ARGV do
  answers[i + 1] = redis.call("HGET", KEYS[1], ARGV[i])
end
return answers
