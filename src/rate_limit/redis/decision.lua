-- One decision on one more request. KEYS[1] has a client's requests by the number of their slot. ARGV is the
-- length of a slot in microseconds, the quota, and the milliseconds after which an unused key expires.
-- `now`, in microseconds, is set by the line before this file.
local length, quota, expires = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local slots = 31
local slot = math.floor(now / length)
local used, oldest, gone = 0, slot, {}
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
    local at = tonumber(counts[i])
    -- A slot of the future is one of a clock that was set back since. It counts unless it is absurd.
    if at > slot - slots and at < slot + slots then
        used = used + tonumber(counts[i + 1])
        oldest = math.min(oldest, at)
    else
        gone[#gone + 1] = counts[i]
    end
end
if #gone > 0 then
    redis.call('HDEL', KEYS[1], unpack(gone))
end
local allowed = 0
if used < quota then
    allowed = 1
    redis.call('HINCRBY', KEYS[1], string.format('%.0f', slot), 1)
    redis.call('PEXPIRE', KEYS[1], expires)
end
return { allowed, math.max(quota - used - allowed, 0), (oldest + slots) * length - now }
