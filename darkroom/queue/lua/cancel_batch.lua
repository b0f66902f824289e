-- End all jobs of a batch as canceled that are queued or running; nil: no such batch.
local id, owner = unpack(ARGV)
if not is_batch(id, owner) then
  return false
end
even_when_full()
for _, job in ipairs(jobs_of(id)) do
  cancel(job)
end
return view_batch(id)
