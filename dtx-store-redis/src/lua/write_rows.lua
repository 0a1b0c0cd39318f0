-- KEYS: rows, order and meta of one scope.
-- ARGV: how many sets; per set: not_after, how many changes, how many unchanged rows,
-- (key, version or "", next version or "", value or "") per change, (key, version or "") per
-- unchanged row. An empty next version deletes; "new" makes a row.
local time = redis.call("TIME")
local meta = redis.call("HMGET", KEYS[3], "n", "d")
local now = math.max(time[1] * 1000000 + time[2], tonumber(meta[1] or 0))
local deleted = tonumber(meta[2] or 0)
local answers, applied, at = {}, false, 2

local function is_as_expected(key, version)
  local row = redis.call("HGET", KEYS[1], key)
  return (row and string.match(row, "^%d+") or "") == version
end

local function all_as_expected(first, count, width)
  for i = first, first + (count - 1) * width, width do
    if not is_as_expected(ARGV[i], ARGV[i + 1]) then
      return false
    end
  end
  return true
end

local function apply(first, count)
  for i = first, first + (count - 1) * 4, 4 do
    local key, version, following = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if following == "" then
      if version ~= "" then
        redis.call("HDEL", KEYS[1], key)
        redis.call("ZREM", KEYS[2], key)
        deleted = math.max(deleted, tonumber(version))
        redis.call("HSET", KEYS[3], "d", string.format("%.0f", deleted))
      end
    else
      if following == "new" then
        following = string.format("%.0f", deleted + 1)
        redis.call("ZADD", KEYS[2], 0, key)
      end
      redis.call("HSET", KEYS[1], key, following .. ":" .. ARGV[i + 3])
    end
  end
end

for _ = 1, tonumber(ARGV[1]) do
  local limit, changes, unchanged = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local first = at + 3
  local others = first + changes * 4
  at = others + unchanged * 2
  if limit ~= "" and now > tonumber(limit) then
    answers[#answers + 1] = "late"
  elseif not all_as_expected(first, changes, 4) or not all_as_expected(others, unchanged, 2) then
    answers[#answers + 1] = "conflict"
  else
    apply(first, changes)
    applied = true
    answers[#answers + 1] = "written"
  end
end
if applied then
  redis.call("HSET", KEYS[3], "n", string.format("%.0f", now))
end
return answers
