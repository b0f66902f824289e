-- Read a batch; nil: no such batch.
local id, owner = unpack(ARGV)
return is_batch(id, owner) and view_batch(id)
