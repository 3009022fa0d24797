
-- Preemption: a request that waits may ask leases of a lower priority to leave. Nothing is taken from anybody before the
-- grace is over: until then the lease counts, and what it holds is room that is coming. Who gets it is the queue's matter.

local WHOLE = 1000000 -- q.cap is in millionths
local CANDIDATES = 200 -- how many leases of an account are looked at, of the lowest priority and the newest

-- How much of each account is missing beside those who are ahead and what is coming; nil where nothing is, or where no
-- more may be asked to leave in any of them.
local function missing(c, q, wants, ahead)
  local lacks, allowed
  for _, want in ipairs(wants) do
    local leaving = counted(c.leaving, want.account)
    local lack = counted(c.used, want.account) + ahead[want.account] + want.amount - want.capacity - leaving
    if lack > 0 then
      lacks = lacks or {}
      lacks[want.account] = lack
      allowed = allowed or leaving == 0 or leaving < math.floor(q.cap * want.capacity / WHOLE)
    end
  end
  return allowed and lacks
end

-- Who may be asked to leave for a request of this priority, in order: the lowest priority first, then the newest.
local function candidates(c, q, wants, lacks)
  local list, by = {}, {}
  local alone = not next(lacks, next(lacks))
  for _, want in ipairs(wants) do
    local lack = lacks[want.account]
    if lack then
      local prefix = want.account .. '|'
      local below = '(' .. prefix .. string.format('%04d', q.priority)
      -- Each gives one at least, so that for one account no more than are missing need be looked at.
      local most = alone and math.min(lack, CANDIDATES) or CANDIDATES
      local lines = call('ZRANGEBYLEX', c.preemptible, '[' .. prefix, below, 'LIMIT', 0, most)
      for _, text in ipairs(lines) do
        local order, amount, id = string.match(string.sub(text, #prefix + 1), '^(%d+|%d+)|(%d+)|(.*)$')
        if not by[id] then
          by[id] = { id = id, order = order, gives = {} }
          list[#list + 1] = by[id]
        end
        by[id].gives[want.account] = tonumber(amount)
      end
    end
  end
  table.sort(list, function(a, b)
    return a.order < b.order
  end)
  return list
end

-- As many of `list` as make up for what is lacking, and no more; nil where all together do not.
local function enough(list, lacks)
  local chosen = {}
  for _, one in ipairs(list) do
    local helps = false
    for account, amount in pairs(one.gives) do
      helps = helps or lacks[account] > 0
    end
    if helps then
      chosen[#chosen + 1] = one
      for account, amount in pairs(one.gives) do
        lacks[account] = lacks[account] - amount
      end
    end
  end
  for _, lack in pairs(lacks) do
    if lack > 0 then
      return nil
    end
  end
  -- A large one that came last may make smaller ones before it needless: whoever is the last in order is spared first.
  for i = #chosen, 1, -1 do
    local spared = true
    for account, amount in pairs(chosen[i].gives) do
      spared = spared and lacks[account] + amount <= 0
    end
    if spared then
      for account, amount in pairs(chosen[i].gives) do
        lacks[account] = lacks[account] + amount
      end
      table.remove(chosen, i)
    end
  end
  return chosen
end

-- Whether the cap lets this one leave too: one at least, and no more of a pool than its share.
local function may_leave(c, q, lease, capacities)
  for _, want in ipairs(lease.wants) do
    local leaving = counted(c.leaving, want.account)
    local pool = leaving > 0 and not capacities[want.account] and pool_of(c, want.resource)
    local capacity = capacities[want.account] or pool and pool.capacity
    if leaving > 0 and capacity and leaving + want.amount > math.floor(q.cap * capacity / WHOLE) then
      return false
    end
  end
  return true
end

-- Asks leases to leave where that makes room for a request that waits beside all who are ahead of it. Those who exceed the
-- cap are asked later: who waits asks again.
local function preempt(c, q, wants, ahead)
  if q.cap == 0 or call('EXISTS', c.preemptible) == 0 then
    return
  end
  local lacks = missing(c, q, wants, ahead)
  local chosen = lacks and enough(candidates(c, q, wants, lacks), lacks)
  local capacities = {}
  for _, want in ipairs(wants) do
    capacities[want.account] = want.capacity
  end
  for _, one in ipairs(chosen or {}) do
    local lease = read(c.leases, one.id)
    if may_leave(c, q, lease, capacities) then
      ask_to_leave(c, one.id, lease, c.now + q.grace)
    end
  end
end
