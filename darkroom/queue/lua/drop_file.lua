-- Let go of a file that an owner keeps or, without an owner, that anybody does. Returns 1 or 0:
-- whether there was one.
even_when_full()
local id, owner = unpack(ARGV)
if owner then
  return drop_file(id, owner) and 1 or 0
end
local owners = redis.call('HKEYS', 'darkroom:file:' .. id)
for _, each in ipairs(owners) do
  drop_file(id, each)
end
return math.min(#owners, 1)
