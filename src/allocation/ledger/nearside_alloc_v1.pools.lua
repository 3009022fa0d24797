-- Pools.

-- Whether any lease or any request that waits counts in this pool.
local function in_use(c, resource)
  for _, account in ipairs(call('HKEYS', c.used)) do
    if account == resource or string.sub(account, 1, #resource + 1) == resource .. '@' then
      return true
    end
  end
  return false
end

function api.put_pool(keys, q)
  local c = open(keys, q)
  sweep(c)
  local known = read(c.pools, q.name)
  if known and known.scope ~= q.scope and in_use(c, 'pool:' .. q.name) then
    return close(c, { outcome = 'in-use' })
  end
  write(c.pools, q.name, { capacity = q.capacity, scope = q.scope, version = whole(c.us) })
  pools_changed(c)
  return close(c, { outcome = 'put', created = not known })
end

function api.delete_pool(keys, q)
  local c = open(keys, q)
  sweep(c)
  if pausing(c) then
    -- It would come back with whoever remembers it.
    return close(c, { outcome = 'recovering' })
  end
  if not read(c.pools, q.name) then
    return close(c, { outcome = 'unknown-pool', resource = 'pool:' .. q.name })
  end
  if in_use(c, 'pool:' .. q.name) then
    return close(c, { outcome = 'in-use' })
  end
  call('HDEL', c.pools, q.name)
  pools_changed(c)
  return close(c, { outcome = 'deleted' })
end

function api.pools(keys, q)
  local c = open(keys, q)
  sweep(c)
  local list, by = {}, {}
  local stored = call('HGETALL', c.pools)
  for i = 1, #stored, 2 do
    local pool = cjson.decode(stored[i + 1])
    pool.name, pool.used = stored[i], nil
    list[#list + 1], by['pool:' .. pool.name] = pool, pool
  end
  local counts = call('HGETALL', c.used)
  for i = 1, #counts, 2 do
    local pool = by[string.match(counts[i], '^[^@]*')]
    if pool then
      pool.accounts = pool.accounts or {}
      pool.accounts[counts[i]] = tonumber(counts[i + 1])
    end
  end
  return close(c, { outcome = 'pools', pools = #list > 0 and list or nil })
end

