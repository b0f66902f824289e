-- Whether a finished picture is of a job of this owner's.
local image, owner = unpack(ARGV)
local job = redis.call('HGET', 'darkroom:images', image)
return job and is_ours(job, owner) and 1 or 0
