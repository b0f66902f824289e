-- Remove jobs of an owner, ended or not, and then their files: of the jobs looks at `budget` below a
-- ticket, and removes 100 at most; of the files those up to the ticket `last`, 100 at most. Returns the
-- ticket to go on from, '' when all is done; of each job the JSON of its images; how many files.
even_when_full()
local owner, before, last, budget = unpack(ARGV)
local most, images = 100, {}
local rows = redis.call('ZREVRANGEBYSCORE', 'darkroom:jobs', '(' .. before, '-inf', 'WITHSCORES',
  'LIMIT', 0, budget)
for i = 1, #rows, 2 do
  local id = rows[i]
  if texts(id, 'dr_owner') == owner then
    cancel(id)
    images[#images + 1] = forget(id)
  end
  before = rows[i + 1]
  if #images == most then
    return {before, images, 0}
  end
end
if #rows == 2 * tonumber(budget) then
  return {before, images, 0}
end
local files = redis.call('ZRANGEBYSCORE', 'darkroom:files:' .. owner, '-inf', last, 'LIMIT', 0, most)
for _, id in ipairs(files) do
  drop_file(id, owner)
end
return {#files == most and before or '', images, #files}
