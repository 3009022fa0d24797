-- The ledger as a whole: what is asserted again after a loss, the server, the audit.

-- Leases and pools as a caller remembers them from an epoch before. While grants pause, a lease is taken back as it was:
-- it was promised by the ledger that was lost, and nothing has been granted since. Later it has to fit.
function api.reassert(keys, q)
  local c = open(keys, q)
  sweep(c)
  for _, pool in ipairs(q.pools or {}) do
    local known = read(c.pools, pool.name)
    if not known or tonumber(known.version) < tonumber(pool.version) then
      write(c.pools, pool.name, { capacity = pool.capacity, scope = pool.scope, version = pool.version })
      pools_changed(c)
    end
  end
  local replies = {}
  for i, lease in ipairs(q.leases or {}) do
    local id = lease.id
    local known, tomb = read(c.leases, id), read(c.ended, id)
    local reply = { id = id }
    if known and tonumber(known.fence) < tonumber(lease.fence) then
      -- A resize was lost.
      let_go(c, id, known)
      call('HDEL', c.leases, id)
      call('ZREM', c.deadlines, 'l:' .. id)
      known = nil
    end
    if known then
      reply.outcome = known.fence == lease.fence and 'held' or 'fenced'
      if reply.outcome == 'held' and lease.preempt and not known.preempt then
        -- Only that was lost; its holder has been told.
        ask_to_leave(c, id, known, lease.preempt)
      end
    elseif tomb then
      reply.outcome, reply.reason = 'ended', tomb.reason
    elseif lease.expires <= c.now then
      reply.outcome, reply.reason = 'ended', ending(lease)
      entomb(c, id, reply.reason, lease.retention, lease.key)
    else
      local short = false
      if not pausing(c) then
        for _, want in ipairs(lease.wants) do
          local pool = pool_of(c, want.resource)
          local capacity = want.capacity or pool and pool.capacity or 0
          short = short or counted(c.used, want.account) + want.amount > capacity
        end
      end
      if short then
        reply.outcome, reply.reason = 'ended', 'lost'
        entomb(c, id, 'lost', lease.retention, lease.key)
      else
        reply.outcome = 'restored'
        lease.id = nil
        lease.wants = held(lease.wants)
        hold(c, id, lease)
        keep(c, id, lease)
        if pausing(c) then
          c.pause = math.min(math.max(c.pause, c.now + q.window), c.began + LONGEST * q.window)
        end
      end
      c.fence = math.max(c.fence, tonumber(lease.fence))
      if lease.key and not read(c.named, lease.key) then
        write(c.named, lease.key, { id = id, digest = lease.digest })
      end
    end
    replies[i] = reply
  end
  return close(c, { outcome = 'asserted', leases = #replies > 0 and replies or nil })
end

-- What a nearside says when it has connected and now and then: whether the server is the one it was, and may evict.
function api.hello(keys, q)
  local c = open(keys, q)
  sweep(c)
  local reply = { outcome = 'hello' }
  local server, memory = redis.pcall('INFO', 'server'), redis.pcall('INFO', 'memory')
  local run = type(server) == 'string' and string.match(server, 'run_id:(%x+)')
  local before = call('HGET', c.meta, 'run')
  if run and run ~= before then
    if before and not pausing(c) then
      lost(c, q)
    end
    call('HSET', c.meta, 'run', run)
    c.dirty = true
  end
  if type(memory) == 'string' then
    reply.policy = string.match(memory, 'maxmemory_policy:([%w-]+)')
    reply.maxmemory = tonumber(string.match(memory, 'maxmemory:(%d+)'))
  end
  reply.pools = call('HGET', c.meta, 'pools') or nil
  reply.leases, reply.waiting = call('HLEN', c.leases), call('ZCARD', c.queue)
  if q.accounts then
    reply.used = call('HMGET', c.used, unpack(q.accounts))
    for i, amount in ipairs(reply.used) do
      reply.used[i] = tonumber(amount or 0)
    end
  end
  return close(c, reply)
end

-- Adds to `wrong` where `stored` counts something else than the leases hold.
local function disagreements(wrong, stored, holds, verb)
  for i = 1, #stored, 2 do
    local account, amount = stored[i], tonumber(stored[i + 1])
    if (holds[account] or 0) ~= amount then
      wrong[#wrong + 1] = account .. verb .. whole(amount) .. ', its leases ' .. whole(holds[account] or 0)
    end
    holds[account] = nil
  end
  for account, amount in pairs(holds) do
    wrong[#wrong + 1] = account .. verb .. '0, its leases ' .. whole(amount)
  end
end

-- Counts everything again and says what does not agree.
function api.audit(keys, q)
  local c = open(keys, q)
  local holds, leaving, lines, wrong, over, leases = {}, {}, 0, {}, {}, 0
  local stored = call('HGETALL', c.leases)
  for i = 1, #stored, 2 do
    leases = leases + 1
    local lease = cjson.decode(stored[i + 1])
    for _, want in ipairs(lease.wants) do
      holds[want.account] = (holds[want.account] or 0) + want.amount
      if lease.preempt then
        leaving[want.account] = (leaving[want.account] or 0) + want.amount
      elseif lease.preemptible then
        lines = lines + 1
        if not call('ZSCORE', c.preemptible, line(stored[i], lease, want)) then
          wrong[#wrong + 1] = 'the lease ' .. stored[i] .. ' is not found where it may be asked to leave'
        end
      end
    end
    if lease.preempt and lease.preempt < lease.expires then
      wrong[#wrong + 1] = 'the lease ' .. stored[i] .. ' outlives what it was asked for'
    end
    if tonumber(call('ZSCORE', c.deadlines, 'l:' .. stored[i]) or -1) ~= lease.expires then
      wrong[#wrong + 1] = 'the lease ' .. stored[i] .. ' has another deadline'
    end
    if tonumber(lease.fence) > c.fence then
      wrong[#wrong + 1] = 'the lease ' .. stored[i] .. ' has a fence that is yet to come'
    end
  end
  local counts = call('HGETALL', c.used)
  for i = 1, #counts, 2 do
    local pool = pool_of(c, string.match(counts[i], '^[^@]*'))
    if pool and tonumber(counts[i + 1]) > pool.capacity then
      over[#over + 1] = counts[i]
    end
  end
  disagreements(wrong, counts, holds, ' counts ')
  disagreements(wrong, call('HGETALL', c.leaving), leaving, ' expects ')
  if call('ZCARD', c.preemptible) ~= lines then
    wrong[#wrong + 1] = call('ZCARD', c.preemptible) .. ' lines of those who may be asked to leave, not ' .. lines
  end
  local queued, waiting = call('ZRANGE', c.queue, 0, -1), call('HLEN', c.waiting)
  if #queued ~= waiting then
    wrong[#wrong + 1] = 'the queue has ' .. #queued .. ' places for ' .. waiting .. ' requests'
  end
  for _, id in ipairs(queued) do
    if call('HEXISTS', c.waiting, id) == 0 or not call('ZSCORE', c.deadlines, 'w:' .. id) then
      wrong[#wrong + 1] = 'the place of ' .. id .. ' is nobody\'s'
    end
  end
  local expected = leases + waiting + call('HLEN', c.ended)
  local deadlines = call('ZCARD', c.deadlines)
  if deadlines ~= expected then
    wrong[#wrong + 1] = deadlines .. ' deadlines for ' .. expected .. ' that have one'
  end
  return close(c, {
    outcome = 'audit', leases = leases, wrong = #wrong > 0 and wrong or nil, over = #over > 0 and over or nil,
  })
end

