-- KEYS: lease, due, ended, all, voids of one shard, then one row per write.
-- ARGV: 13 values per write. Answers: code, version, verdict per write.
local lease = redis.call("HMGET", KEYS[1], "h", "e", "n")
local owner = lease[1] and (lease[1] .. lease[2])
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(lease[3] or 0))
local stamp = string.format("%.0f", now)
local answers, applied = {}, false

local function index(row, due, tx)
  local was = row[1] and row[4]
  if was == "" then
    redis.call("ZREM", KEYS[3], tx)
  elseif was and was ~= due then
    redis.call("ZREM", KEYS[2], was .. tx)
  end
  if due == "" then
    redis.call("ZADD", KEYS[3], stamp, tx)
  elseif was ~= due then
    redis.call("ZADD", KEYS[2], 0, due .. tx)
  end
end

for i = 6, #KEYS do
  local at = (i - 6) * 13
  local id, expect, version, fence, verdict, due, body, journal, definition, key, token, duplicate, tx =
    unpack(ARGV, at + 1, at + 13)
  local row = redis.call("HMGET", KEYS[i], "v", "o", "w", "d")
  local decided = row[2] or ""
  local code, found, told = "applied", version, ""
  if row[1] and row[3] == id then
    found = row[1]
  elseif fence ~= "" and fence ~= owner then
    code, found = "fenced", ""
  elseif (row[1] or "") ~= expect
    or (decided ~= "" and verdict ~= "" and (decided ~= verdict or fence == "")) then
    code, found, told = "conflict", row[1] or "", decided
  elseif duplicate ~= "" then
    code, found = "duplicate", ""
  elseif token ~= "" and redis.call("ZSCORE", KEYS[5], token) then
    code, found = "void", ""
  else
    local fields = { "v", version, "w", id, "d", due, "t", stamp, "b", body }
    local function set(name, value)
      if value ~= "" then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
    end
    set("o", verdict)
    set("j" .. version, journal)
    if not row[1] then
      set("a", stamp)
      set("f", definition)
      set("k", key)
      set("c", token)
      redis.call("ZADD", KEYS[4], 0, tx)
    end
    redis.call("HSET", KEYS[i], unpack(fields))
    index(row, due, tx)
    applied = true
  end
  answers[#answers + 1] = code
  answers[#answers + 1] = found
  answers[#answers + 1] = told
end
if applied then
  redis.call("HSET", KEYS[1], "n", stamp)
end
return answers
