-- KEYS: lease, due, ended, all, voids of one shard, then one row per write.
-- ARGV: 11 values per write. Answers: code, version, verdict per write.
-- The head of a row: id of the write (24 bytes), verdict (1), whether it is due and when (1 and 8),
-- then its version and the time of the write in decimal. What is written begins like that; without
-- a verdict it keeps the one that is there.
local call, sub, match = redis.call, string.sub, string.match
local lease = call("HMGET", KEYS[1], "h", "e", "n")
local owner = lease[1] and (lease[1] .. lease[2])
local time = call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(lease[3] or 0))
local stamp = string.format("%.0f", now)
local never = "-" .. string.rep("\0", 8)
local answers, applied = {}, false

local function put(fields, name, value)
  if value ~= "" then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end

local function index(head, begin, tx)
  local was, due = head and sub(head, 26, 34), sub(begin, 26, 34)
  if was == never then
    call("ZREM", KEYS[3], tx)
  elseif was and was ~= due then
    call("ZREM", KEYS[2], sub(was, 2) .. tx)
  end
  if due == never then
    call("ZADD", KEYS[3], stamp, tx)
  elseif was ~= due then
    call("ZADD", KEYS[2], 0, sub(due, 2) .. tx)
  end
end

for i = 6, #KEYS do
  local at = (i - 6) * 11
  local begin, expect, version, fence, body, journal, definition, key, token, duplicate, tx =
    unpack(ARGV, at + 1, at + 11)
  local head = call("HGET", KEYS[i], "h")
  local is, decided, verdict = "", "-", sub(begin, 25, 25)
  if head then
    is, decided = match(head, "^%d+", 35), sub(head, 25, 25)
  end
  local code, found, told = "applied", version, "-"
  if head and sub(head, 1, 24) == sub(begin, 1, 24) then
    found = is
  elseif fence ~= "" and fence ~= owner then
    code, found = "fenced", ""
  elseif is ~= expect
    or (decided ~= "-" and verdict ~= "-" and (decided ~= verdict or fence == "")) then
    code, found, told = "conflict", is, decided
  elseif duplicate ~= "" then
    code, found = "duplicate", ""
  elseif token ~= "" and call("ZSCORE", KEYS[5], token) then
    code, found = "void", ""
  else
    if verdict == "-" then
      begin = sub(begin, 1, 24) .. decided .. sub(begin, 26)
    end
    local fields = { "h", begin .. version .. " " .. stamp, "b", body }
    put(fields, "j" .. version, journal)
    if not head then
      put(fields, "f", stamp .. " " .. definition)
      put(fields, "k", key)
      put(fields, "c", token)
      call("ZADD", KEYS[4], 0, tx)
    end
    call("HSET", KEYS[i], unpack(fields))
    index(head, begin, tx)
    applied = true
  end
  answers[#answers + 1] = code
  answers[#answers + 1] = found
  answers[#answers + 1] = told
end
if applied then
  call("HSET", KEYS[1], "n", stamp)
end
return answers
