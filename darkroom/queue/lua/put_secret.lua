-- Sign an owner's messages with a new secret, and for `overlap_s` seconds with the one before it too.
-- Returns what is kept now. A repeat changes nothing.
even_when_full()
local owner, secret, overlap_s = unpack(ARGV)
local kept = redis.call('HGET', 'darkroom:webhook_secrets', owner)
local before = kept and cjson.decode(kept) or {}
if before.current ~= secret then
  local now = {current = secret, created_at = NOW}
  if before.current and tonumber(overlap_s) > 0 then
    now.previous, now.previous_until = before.current, NOW + tonumber(overlap_s)
  end
  kept = cjson.encode(now)
  redis.call('HSET', 'darkroom:webhook_secrets', owner, kept)
end
return kept
