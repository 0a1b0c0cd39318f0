-- KEYS: rows and order of one scope. ARGV: from, to, how many. Answers keys and rows in turn.
local answers = {}
for _, key in ipairs(redis.call("ZRANGEBYLEX", KEYS[2], ARGV[1], ARGV[2], "LIMIT", 0, ARGV[3])) do
  answers[#answers + 1] = key
  answers[#answers + 1] = redis.call("HGET", KEYS[1], key)
end
return answers
