-- Remove a job, canceling it if need be. Returns the JSON of its images' records; nil: no such job.
local id, owner = unpack(ARGV)
if not is_ours(id, owner) then
  return false
end
even_when_full()
cancel(id)
return forget(id)
