-- Remove all jobs of a batch, canceling them if need be, and it with them. Returns the JSON of their
-- images' records; nil: no such batch.
local id, owner = unpack(ARGV)
if not is_batch(id, owner) then
  return false
end
even_when_full()
local images = {}
for _, job in ipairs(jobs_of(id)) do
  if is_ours(job, owner) then
    cancel(job)
    images[#images + 1] = forget(job)
  end
end
redis.call('DEL', batch_key(id)) -- should RQ's tools have taken jobs of it away
return images
