-- KEYS: rows, order, meta and noes of one scope, then those of the effect.
-- ARGV: key and version of the row, key and version of the mark, the next version of the row, its
-- value, the name of the effect, for how many milliseconds noes are kept at most, then the
-- arguments of the effect. An empty version: there is no such row; "new" makes it.
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

local function version_of(key)
  local row = redis.call("HGET", KEYS[1], key)
  return row and string.match(row, "^%d+") or ""
end

local time = redis.call("TIME")
local meta = redis.call("HMGET", KEYS[3], "n", "d")
if version_of(ARGV[1]) ~= ARGV[2] or version_of(ARGV[3]) ~= ARGV[4] then
  return "conflict"
end
local answer = effect(from(KEYS, 5), from(ARGV, 9))
if answer == false or type(answer) == "string" then
  redis.call("HSET", KEYS[4], ARGV[1], ARGV[7] .. (answer or ""))
  if redis.call("PTTL", KEYS[4]) < 0 then
    redis.call("PEXPIRE", KEYS[4], ARGV[8])
  end
  return "no"
end
local following = ARGV[5]
if following == "new" then
  following = string.format("%.0f", tonumber(meta[2] or 0) + 1)
  redis.call("ZADD", KEYS[2], 0, ARGV[1])
end
redis.call("HSET", KEYS[1], ARGV[1], following .. ":" .. ARGV[6])
redis.call("HDEL", KEYS[4], ARGV[1])
local now = math.max(time[1] * 1000000 + time[2], tonumber(meta[1] or 0))
redis.call("HSET", KEYS[3], "n", string.format("%.0f", now))
return "written"
