#!lua name=nearside_alloc_v1
-- The ledger of leases on shared resources: who was promised how much of what, until when.
--
-- A call is one function with one JSON argument and one JSON answer, and is atomic: it samples the server's clock once,
-- ends whatever is due, does its work, and counts the ledger's sequence up where it changed anything.
--
-- KEYS, all with the ledger's hash tag, in this order:
--   meta       hash    seq, fence, epoch, pause, began, run (which server it is), pools (when they were changed last)
--   pools      hash    name -> {capacity, scope, version}
--   used       hash    account -> what its leases hold; an account is a resource, with @node/.. or @pod/.. where it is not
--                      one for the whole cluster
--   leases     hash    id -> lease
--   waiting    hash    id -> request
--   queue      zset    id by its place: the arrival in microseconds less a head start for each point of priority. All grow
--                      older at the same pace, so that place is both the order and its ageing: nobody is overtaken for ever
--   deadlines  zset    l:, w: and e: (ended) with an id, by when that is over. No key has a TTL: what expires by itself is
--                      not counted back
--   named      hash    idempotency key -> {id, digest}
--   ended      hash    id -> why a lease ended, kept for a while
--   preemptible zset   who may be asked to leave, a line for each account of a lease, all of score 0: the account, the
--                      priority, the fence counted down, the amount and the id, so that of an account's lines the first
--                      is the newest lease of the lowest priority
--   leaving    hash    account -> what those of its leases hold that have been asked to leave; it is in `used` yet
--
-- Loss. `epoch` names one unbroken history of the ledger. It ends where the ledger is empty (new, or FLUSHALL), where a
-- caller has seen a sequence or an epoch that is yet to come (a failover lost writes), and where the server is another one
-- than before. Then grants pause until `pause`, while whoever holds leases asserts them again. Nobody can tell a new ledger
-- from one that was emptied, so a new one begins with the pause too.
--
-- cjson and tostring keep 14 digits: what counts in microseconds (fences, epochs, versions) is a string here and outside.

local POINT = 100000 -- microseconds of head start for a point of priority
local SILENCE = 2000 -- milliseconds after which a request that nobody asks for any more loses its place
local SWEPT = 1000 -- most that one sweep ends
local QUEUED = 1000 -- most requests that wait
local LOOKED = 49 -- how far along the deadlines the next expiry is looked for
local LONGEST = 10 -- a pause goes on for at most so many windows
local LAST = 9007199254740991 -- no fence is greater: Lua counts no further

local function call(...)
  return redis.call(...)
end

local format -- the faster one by far, where it holds 64 bits

local function whole(number)
  format = format or string.format('%d', 2 ^ 53) == '9007199254740992' and '%d' or '%.0f'
  return string.format(format, number)
end

-- Begins a new epoch and pauses grants.
local function lost(c, q)
  c.epoch = math.max(c.us, c.epoch + 1, tonumber(q.epoch) + 1)
  c.began = c.now
  c.pause = c.now + q.window
  c.dirty = true
end

-- Opens the ledger for one call.
local function open(keys, q)
  local time = call('TIME')
  local c = {
    meta = keys[1], pools = keys[2], used = keys[3], leases = keys[4], waiting = keys[5], queue = keys[6],
    deadlines = keys[7], named = keys[8], ended = keys[9], preemptible = keys[10], leaving = keys[11],
    us = tonumber(time[1]) * 1000000 + tonumber(time[2]),
    text = time[1] .. string.format('%06d', time[2]), -- the same, as it is written
    dirty = false,
  }
  c.now = math.floor(c.us / 1000)
  local meta = call('HMGET', c.meta, 'seq', 'fence', 'epoch', 'pause', 'began')
  c.seq, c.fence, c.epoch = tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0)
  c.pause, c.began = tonumber(meta[4] or 0), tonumber(meta[5] or 0)
  local epoch, seq = tonumber(q.epoch), tonumber(q.seq)
  if not meta[3] or epoch > c.epoch or (epoch == c.epoch and seq > c.seq) then
    lost(c, q)
  end
  return c
end

local function pausing(c)
  return c.pause > c.now
end

-- Closes the call with its answer.
local function close(c, reply)
  local seq = whole(c.seq)
  if c.dirty then
    c.seq = c.seq + 1
    seq = whole(c.seq)
    call('HSET', c.meta, 'seq', seq, 'fence', whole(c.fence), 'epoch', whole(c.epoch),
      'pause', whole(c.pause), 'began', whole(c.began))
  end
  reply.now, reply.seq, reply.epoch = c.text, seq, whole(c.epoch)
  reply.pause = math.max(c.pause - c.now, 0)
  local kept = c.kept
  if not kept or kept.lease ~= reply.lease then
    return cjson.encode(reply)
  end
  -- It has been encoded to be stored, without its id.
  reply.lease = nil
  local rest = string.sub(cjson.encode(reply), 2)
  return '{"lease":{"id":' .. cjson.encode(kept.id) .. ',' .. string.sub(kept.text, 2) .. ',' .. rest
end

local function read(key, id)
  local text = call('HGET', key, id)
  return text and cjson.decode(text) or nil
end

local function write(key, id, value)
  call('HSET', key, id, cjson.encode(value))
end

local function counted(key, account)
  return tonumber(call('HGET', key, account) or 0)
end

local function add(key, account, amount)
  if call('HINCRBY', key, account, amount) <= 0 then
    call('HDEL', key, account)
  end
end

-- The pool that a resource is, if it is one.
local function pool_of(c, resource)
  local name = string.match(resource, '^pool:(.*)$')
  return name and read(c.pools, name)
end

local function next_fence(c)
  c.fence = math.max(c.fence + 1, c.us)
  return whole(c.fence)
end

-- Whoever remembers the pools reads them again.
local function pools_changed(c)
  call('HSET', c.meta, 'pools', whole(c.us))
  c.dirty = true
end

-- Leases.

local function line(id, lease, want)
  local down = LAST - tonumber(lease.fence)
  return string.format('%s|%04d|%016.0f|%.0f|%s', want.account, lease.priority, down, want.amount, id)
end

-- Counts what a lease holds.
local function hold(c, id, lease)
  for _, want in ipairs(lease.wants) do
    add(c.used, want.account, want.amount)
    if lease.preempt then
      add(c.leaving, want.account, want.amount)
    elseif lease.preemptible then
      call('ZADD', c.preemptible, 0, line(id, lease, want))
    end
  end
end

-- Counts it no longer.
local function let_go(c, id, lease)
  for _, want in ipairs(lease.wants) do
    add(c.used, want.account, -want.amount)
    if lease.preempt then
      add(c.leaving, want.account, -want.amount)
    elseif lease.preemptible then
      call('ZREM', c.preemptible, line(id, lease, want))
    end
  end
end

local function keep(c, id, lease)
  local text = cjson.encode(lease)
  c.kept = { id = id, lease = lease, text = text }
  call('HSET', c.leases, id, text)
  call('ZADD', c.deadlines, whole(lease.expires), 'l:' .. id)
  c.dirty = true
end

local function entomb(c, id, reason, retention, key)
  write(c.ended, id, { reason = reason, key = key })
  call('ZADD', c.deadlines, whole(c.now + retention), 'e:' .. id)
  c.dirty = true
end

local function finish(c, id, lease, reason)
  let_go(c, id, lease)
  call('HDEL', c.leases, id)
  call('ZREM', c.deadlines, 'l:' .. id)
  entomb(c, id, reason, lease.retention, lease.key)
end

-- Why a lease that is due ends.
local function ending(lease)
  if lease.hard and lease.hard <= lease.expires then
    return 'lifetime'
  end
  return lease.preempt and lease.preempt <= lease.expires and 'preempted' or 'expired'
end

-- How long a lease lives that was granted or renewed now.
local function expiry(c, lease)
  return math.min(c.now + lease.ttl, lease.hard or math.huge, lease.preempt or math.huge)
end

-- The lease ends at `by` at the latest.
local function ask_to_leave(c, id, lease, by)
  let_go(c, id, lease)
  lease.preempt, lease.expires = by, math.min(lease.expires, by)
  hold(c, id, lease)
  keep(c, id, lease)
end

-- Requests that wait.

local function forget_name(c, key, id)
  local named = key and read(c.named, key)
  if named and named.id == id then
    call('HDEL', c.named, key)
  end
end

local function leave_queue(c, id)
  call('HDEL', c.waiting, id)
  call('ZREM', c.queue, id)
  call('ZREM', c.deadlines, 'w:' .. id)
  c.dirty = true
end

-- Ends what is due; whether there may be more.
local function sweep(c)
  if c.swept then
    return false
  end
  local due = call('ZRANGEBYSCORE', c.deadlines, '-inf', whole(c.now), 'LIMIT', '0', SWEPT)
  for _, member in ipairs(due) do
    local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
    if kind == 'l' then
      local lease = read(c.leases, id)
      finish(c, id, lease, ending(lease))
    elseif kind == 'w' then
      local waiter = read(c.waiting, id)
      leave_queue(c, id)
      forget_name(c, waiter.key, id)
    else
      local tomb = read(c.ended, id)
      call('HDEL', c.ended, id)
      call('ZREM', c.deadlines, member)
      forget_name(c, tomb.key, id)
      c.dirty = true
    end
  end
  c.swept = #due < SWEPT
  return not c.swept
end

-- Accounts and what fits.

-- The account and the capacity of each resource asked for; or nil and what is wrong.
local function resolve(c, q, asked)
  local wants = {}
  for i, one in ipairs(asked) do
    local want = { resource = one.resource, amount = one.amount }
    if one.capacity then
      want.account, want.capacity = one.resource .. '@pod/' .. q.pod, one.capacity
    else
      local pool = pool_of(c, one.resource)
      if not pool then
        -- While grants pause, whoever remembers it may be about to say so.
        return nil, pausing(c) and { outcome = 'recovering' } or { outcome = 'unknown-pool', resource = one.resource }
      end
      want.account, want.capacity = one.resource, pool.capacity
      if pool.scope == 'pod' then
        want.account = want.account .. '@pod/' .. q.pod
      elseif pool.scope == 'node' then
        if not q.node then
          return nil, { outcome = 'unknown-node', resource = one.resource }
        end
        want.account = want.account .. '@node/' .. q.node
      end
    end
    wants[i] = want
  end
  return wants
end

-- How much the requests before `place` wait for, of each account of `wants`.
local function before(c, wants, place)
  local ahead = {}
  for _, want in ipairs(wants) do
    ahead[want.account] = 0
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', c.queue, '-inf', '(' .. whole(place))) do
    for _, want in ipairs(read(c.waiting, id).wants) do
      if ahead[want.account] then
        ahead[want.account] = ahead[want.account] + want.amount
      end
    end
  end
  return ahead
end

-- The first of `wants` that exceeds what is left beside the leases, less `own`, and those who are `ahead`.
local function short_of(c, wants, own, ahead)
  for _, want in ipairs(wants) do
    local promised = counted(c.used, want.account)
    local mine = own[want.account] or 0
    -- Less than before is always right, however little there is.
    if want.amount > mine and promised - mine + ahead[want.account] + want.amount > want.capacity then
      return want, promised
    end
  end
end

-- As short_of, once all that is due has ended; and what is ahead.
local function shortage(c, wants, own, place)
  while true do
    local more = sweep(c)
    local ahead = before(c, wants, place)
    local want, promised = short_of(c, wants, own, ahead)
    if not want or not more then
      return want, promised, ahead
    end
  end
end

-- The answer to a request that does not fit.
local function exhausted(c, want, promised)
  local reply = {
    outcome = 'exhausted', resource = want.resource, requested = want.amount, capacity = want.capacity,
    used = promised or counted(c.used, want.account),
  }
  for _, member in ipairs(call('ZRANGE', c.deadlines, 0, LOOKED)) do
    local lease = string.sub(member, 1, 1) == 'l' and read(c.leases, string.sub(member, 3))
    for _, held in ipairs(lease and lease.wants or {}) do
      if held.account == want.account and not reply.next_expiry then
        reply.next_expiry = lease.expires
      end
    end
  end
  return reply
end

local function impossible(wants)
  for _, want in ipairs(wants) do
    if want.amount > want.capacity then
      return want
    end
  end
end

-- What is stored of wants.
local function held(wants)
  local list = {}
  for i, want in ipairs(wants) do
    list[i] = { resource = want.resource, amount = want.amount, account = want.account }
  end
  return list
end

local function amounts(wants)
  local by = {}
  for _, want in ipairs(wants or {}) do
    by[want.account] = want.amount
  end
  return by
end

local function shown(id, lease)
  lease.id = id
  return lease
end

