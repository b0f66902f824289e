-- Let go of files whose time has passed, 100 at most; returns how many.
even_when_full()
local due = redis.call('ZRANGEBYSCORE', 'darkroom:file_expiries', '-inf', NOW, 'LIMIT', 0, 100)
for _, member in ipairs(due) do
  drop_file(member:match('^([^|]*)|(.*)$'))
end
return #due
