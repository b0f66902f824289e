-- Keep a key of the API: a new one, or one in place of what was kept of it, with this digest. Refused
-- where another has its name.
even_when_full()
local id, name, record, digest = unpack(ARGV)

local function read(text)
  local readable, key = pcall(cjson.decode, text or '')
  return readable and type(key) == 'table' and key or {}
end

if (read(redis.call('HGET', 'darkroom:keys', id)).digest or '') ~= digest then
  return 0
end
local kept = redis.call('HGETALL', 'darkroom:keys')
for i = 1, #kept, 2 do
  if kept[i] ~= id and read(kept[i + 1]).name == name then
    return 0
  end
end
redis.call('HSET', 'darkroom:keys', id, record)
redis.call('PUBLISH', 'darkroom:events', 'keys changed')
return 1
