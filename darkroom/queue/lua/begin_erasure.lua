-- Note that all that an owner has made by now shall be removed. Returns what is noted: the ticket of the
-- last job accepted and the time.
even_when_full()
local owner = unpack(ARGV)
local noted = (redis.call('GET', 'darkroom:ticket') or '0') .. ' ' .. unix(NOW)
redis.call('HSET', 'darkroom:erasures', owner, noted)
return noted
