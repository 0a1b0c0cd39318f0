-- KEYS: what was done, by time; then those of the effect. ARGV: the name of what is done, then the
-- arguments of the effect. Answers what came of it, and the reason of a no.
local function effect(KEYS, ARGV)
--EFFECT--
end

local function from(list, first)
  local rest = {}
  for i = first, #list do
    rest[#rest + 1] = list[i]
  end
  return rest
end

local time = redis.call("TIME")
if redis.call("ZSCORE", KEYS[1], ARGV[1]) then
  return { "repeated", "" }
end
local answer = effect(from(KEYS, 2), from(ARGV, 2))
if answer == false or type(answer) == "string" then
  return { "no", answer or "" }
end
redis.call("ZADD", KEYS[1], string.format("%.0f", time[1] * 1000000 + time[2]), ARGV[1])
return { "first", "" }
