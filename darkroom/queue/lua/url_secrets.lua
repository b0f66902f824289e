-- The secrets that addresses are signed with: the present one and the one before it. Where there are
-- none yet, two that the caller drew; one that has been used for `replaced_after_s` is replaced.
local replaced_after_s, fresh, another = unpack(ARGV)
local key = 'darkroom:url_secrets'
local current, since = unpack(redis.call('HMGET', key, 'current', 'since'))
if not current or NOW - tonumber(since) >= tonumber(replaced_after_s) then
  even_when_full()
  redis.call('HSET', key, 'current', fresh, 'since', unix(NOW), 'earlier', current or another)
end
return redis.call('HMGET', key, 'current', 'earlier')
