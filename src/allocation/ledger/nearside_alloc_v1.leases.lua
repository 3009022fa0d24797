-- The functions. Each takes the keys and the decoded argument, and gives the encoded answer.

local api = {}

local function enqueue(c, q, wants, waiter)
  local arrived = waiter and tonumber(waiter.arrived) or tonumber(q.arrived) or c.us
  local place = arrived - q.priority * POINT
  if not waiter then
    if call('ZCARD', c.queue) >= QUEUED then
      return { outcome = 'queue-full' }
    end
    write(c.waiting, q.id, { arrived = whole(arrived), place = whole(place), wants = held(wants), key = q.key })
    call('ZADD', c.queue, whole(place), q.id)
    if q.key then
      write(c.named, q.key, { id = q.id, digest = q.digest })
    end
  end
  call('ZADD', c.deadlines, whole(c.now + SILENCE), 'w:' .. q.id)
  c.dirty = true
  return { outcome = 'queued', arrived = whole(arrived), ahead = call('ZCOUNT', c.queue, '-inf', '(' .. whole(place)) }
end

local function grant(c, q, wants)
  local hard = q.lifetime and c.now + q.lifetime or nil
  local lease = {
    fence = next_fence(c), owner = q.owner, granted = c.now, ttl = q.ttl, hard = hard,
    wants = held(wants), component = q.component, priority = q.priority, preemptible = q.preemptible or nil,
    key = q.key, digest = q.digest, retention = q.retention,
  }
  lease.expires = expiry(c, lease)
  hold(c, q.id, lease)
  keep(c, q.id, lease)
  if q.key then
    write(c.named, q.key, { id = q.id, digest = q.digest })
  end
  return { outcome = 'granted', lease = shown(q.id, lease) }
end

-- A lease for `q`, at once or, where it `waits`, a place in the queue. Asked again under the same id it gives the same
-- lease: a caller whose answer was lost asks again. Who waits asks again until it is its turn.
local function acquire(c, q)
  sweep(c)
  local id, named = q.id, q.key and read(c.named, q.key)
  if named then
    if named.digest ~= q.digest then
      return { outcome = 'key-reused' }
    end
    id = named.id
  end
  local tomb = read(c.ended, id)
  if tomb then
    return { outcome = 'ended', reason = tomb.reason }
  end
  local lease = read(c.leases, id)
  if lease then
    return { outcome = 'granted', lease = shown(id, lease), again = true }
  end
  if id ~= q.id then
    return { outcome = 'in-progress' }
  end
  local waiter = read(c.waiting, id)
  local wants, problem = resolve(c, q, q.wants)
  if problem and problem.outcome == 'recovering' then
    return problem
  end
  local never = wants and impossible(wants)
  if not wants or never then
    if waiter then
      leave_queue(c, id)
      forget_name(c, waiter.key, id)
    end
    if not wants then
      return problem
    end
    local reply = exhausted(c, never)
    reply.never = true
    return reply
  end
  local ahead
  if not pausing(c) then
    local arrived = waiter and tonumber(waiter.arrived) or tonumber(q.arrived) or c.us
    local want, promised
    want, promised, ahead = shortage(c, wants, {}, arrived - q.priority * POINT)
    if not want then
      if waiter then
        leave_queue(c, id)
      end
      return grant(c, q, wants)
    end
    if not q.waits then
      return exhausted(c, want, promised)
    end
  elseif not q.waits then
    return { outcome = 'recovering' }
  end
  local reply = enqueue(c, q, wants, waiter)
  if ahead and reply.outcome == 'queued' then
    preempt(c, q, wants, ahead)
  end
  return reply
end

function api.acquire(keys, q)
  local c = open(keys, q)
  return close(c, acquire(c, q))
end

-- The lease with this id, if the caller has its fence; otherwise nil and the answer.
local function own(c, q)
  local lease = read(c.leases, q.id)
  if not lease then
    local tomb = read(c.ended, q.id)
    if tomb then
      return nil, { outcome = 'ended', reason = tomb.reason }
    end
    -- While grants pause, whoever gave it may be about to say so.
    return nil, { outcome = pausing(c) and 'recovering' or 'unknown' }
  end
  if q.fence and q.fence ~= lease.fence then
    return nil, { outcome = 'fenced', lease = shown(q.id, lease) }
  end
  return lease
end

local function is_missing(reply)
  return reply.outcome == 'unknown' or reply.outcome == 'recovering'
end

function api.renew(keys, q)
  local c = open(keys, q)
  sweep(c)
  local lease, reply = own(c, q)
  if lease then
    lease.expires = expiry(c, lease)
    lease.owner = q.owner
    keep(c, q.id, lease)
    reply = { outcome = 'granted', lease = shown(q.id, lease) }
  end
  return close(c, reply)
end

-- Ends a lease or a request that waits. What is not known is remembered as ended too: the request may be on its way yet.
function api.release(keys, q)
  local c = open(keys, q)
  sweep(c)
  local lease, reply = own(c, q)
  if lease then
    finish(c, q.id, lease, 'released')
    reply = { outcome = 'released', lease = shown(q.id, lease) }
  elseif q.cancels and is_missing(reply) then
    local waiter = read(c.waiting, q.id)
    if waiter then
      leave_queue(c, q.id)
      forget_name(c, waiter.key, q.id)
    end
    entomb(c, q.id, 'cancelled', q.retention)
    reply = { outcome = 'released' }
  end
  return close(c, reply)
end

-- Other amounts for a lease, all or nothing; until they are granted the lease is as it was. `change` names the attempt.
-- Who has been asked to leave may only shrink.
function api.resize(keys, q)
  local c = open(keys, q)
  sweep(c)
  local lease = read(c.leases, q.id)
  if lease and lease.change == q.change then
    return close(c, { outcome = 'granted', lease = shown(q.id, lease), again = true })
  end
  local reply
  lease, reply = own(c, q)
  if not lease then
    return close(c, reply)
  end
  local wants, problem = resolve(c, q, q.wants)
  if not wants then
    return close(c, problem)
  end
  local mine = amounts(lease.wants)
  local grows = false
  for _, want in ipairs(wants) do
    grows = grows or want.amount > (mine[want.account] or 0)
  end
  if grows and lease.preempt then
    return close(c, { outcome = 'preempting', lease = shown(q.id, lease) })
  end
  if grows and pausing(c) then
    return close(c, { outcome = 'recovering' })
  end
  local want, promised = shortage(c, wants, mine, c.us - lease.priority * POINT)
  if want then
    return close(c, exhausted(c, want, promised))
  end
  let_go(c, q.id, lease)
  lease.wants, lease.fence, lease.change, lease.owner = held(wants), next_fence(c), q.change, q.owner
  hold(c, q.id, lease)
  keep(c, q.id, lease)
  return close(c, { outcome = 'granted', lease = shown(q.id, lease) })
end

function api.get(keys, q)
  local c = open(keys, q)
  sweep(c)
  local lease, reply = own(c, q)
  if lease then
    reply = { outcome = 'granted', lease = shown(q.id, lease) }
  elseif is_missing(reply) and call('HEXISTS', c.waiting, q.id) == 1 then
    reply = { outcome = 'queued' }
  end
  return close(c, reply)
end

