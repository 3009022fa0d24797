-- Names the functions to the server. Where it has none, each is a script, without this part.
local function register(name, flags)
  redis.register_function({
    function_name = 'nearside_alloc_v1_' .. name,
    callback = function(keys, args)
      return api[name](keys, cjson.decode(args[1]))
    end,
    flags = flags,
  })
end

register('acquire', {})
register('resize', {})
register('put_pool', {})
register('delete_pool', { 'allow-oom' })
register('renew', { 'allow-oom' })
register('release', { 'allow-oom' })
register('reassert', { 'allow-oom' })
register('hello', { 'allow-oom' })
register('get', { 'allow-oom' })
register('pools', { 'allow-oom' })
register('audit', { 'allow-oom' })
