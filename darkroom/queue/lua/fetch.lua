-- Read one job; who does that keeps it, should the client who waited for it have left.
if redis.call('ZSCORE', 'darkroom:left', ARGV[1]) then
  redis.pcall('ZREM', 'darkroom:left', ARGV[1]) -- reading goes on where Redis takes no writes
end
return view(ARGV[1])
