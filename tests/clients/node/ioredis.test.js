// ioredis over TCP and a Unix socket; it speaks RESP2 alone.

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { BOUND, eventually, LARGE, MANY, PATIENCE, Program } from './program.js'

for (const transport of ['tcp', 'unix']) {
  describe(`ioredis, ${transport}`, { timeout: BOUND }, () => {
    let program, client
    const made = []

    function connect(options) {
      const where = transport === 'tcp' ? { port: program.port } : { path: program.socket }
      const redis = new Redis({ ...where, ...options })
      redis.on('error', () => {}) // also told by the command that fails
      made.push(redis)
      return redis
    }

    before(async () => {
      program = await Program.start()
    })
    beforeEach(async () => {
      made.splice(0).forEach((redis) => redis.disconnect())
      client = connect()
      await client.flushall()
    })
    after(async () => {
      made.forEach((redis) => redis.disconnect())
      await program.stop()
    })

    test('strings to sorted sets', async () => {
      assert.equal(await client.set('s', 'v'), 'OK')
      assert.equal(await client.get('s'), 'v')
      assert.equal(await client.incrby('n', 5), 5)
      await client.mset({ a: 1, b: 2 })
      assert.deepEqual(await client.mget('a', 'b', 'none'), ['1', '2', null])
      await client.hset('h', { f: 1, g: 2 })
      assert.deepEqual(await client.hgetall('h'), { f: '1', g: '2' })
      await client.rpush('l', 1, 2, 3)
      assert.deepEqual(await client.lrange('l', 0, -1), ['1', '2', '3'])
      assert.equal(await client.lpop('none', 2), null)
      await client.sadd('t', 'x')
      assert.deepEqual(await client.smembers('t'), ['x'])
      await client.zadd('z', 1.5, 'm', '+inf', 'inf')
      assert.deepEqual(await client.zrange('z', 0, -1, 'WITHSCORES'), ['m', '1.5', 'inf', 'inf'])
      assert.deepEqual(await client.geopos('none', 'm'), [null])
      await assert.rejects(client.lpush('s', 1), /WRONGTYPE/)
      await assert.rejects(client.call('NOSUCH', 'x'), /unknown command/)
      const seen = []
      for (let n = 0; n < 100; n++) await client.set(`scan:${n}`, n)
      for await (const keys of client.scanStream({ match: 'scan:*' })) seen.push(...keys)
      assert.equal(new Set(seen).size, 100)
    })

    test('streams', async () => {
      await client.xadd('s', '1-1', 'f', '1')
      await client.xadd('s', '2-1', 'f', '2')
      const entries = [['1-1', ['f', '1']], ['2-1', ['f', '2']]]
      assert.deepEqual(await client.xrange('s', '-', '+'), entries)
      assert.deepEqual(await client.xread('STREAMS', 's', '0'), [['s', entries]])
      assert.equal(await client.xread('STREAMS', 's', '2-1'), null)
      await client.xgroup('CREATE', 's', 'g', '0')
      assert.deepEqual(await client.xreadgroup('GROUP', 'g', 'one', 'STREAMS', 's', '>'), [['s', entries]])
      assert.equal((await client.xpending('s', 'g'))[0], 2)
      assert.equal(await client.xack('s', 'g', '1-1', '2-1'), 2)
      assert.deepEqual(await client.xpending('s', 'g'), [0, null, null, null])
      const waiting = client.xread('BLOCK', PATIENCE, 'STREAMS', 's', '$')
      await program.somebodyWaits()
      await connect().xadd('s', '3-1', 'f', '3')
      assert.deepEqual(await waiting, [['s', [['3-1', ['f', '3']]]]])
    })

    test('pipelines and transactions', async () => {
      const replies = await client.pipeline().set('k', 1).get('k').lpush('k', 1).incr('k').exec()
      assert.deepEqual([replies[0][1], replies[1][1], replies[3][1]], ['OK', '1', 2])
      assert.match(replies[2][0].message, /WRONGTYPE/)
      const done = await client.multi().set('k', 5).incr('k').get('k').exec()
      assert.deepEqual(done, [[null, 'OK'], [null, 6], [null, '6']])
      await client.watch('k')
      await connect().set('k', 'elsewhere')
      assert.equal(await client.multi().set('k', 'here').exec(), null)
      assert.equal(await client.get('k'), 'elsewhere')
    })

    test('pipelines of many', async () => {
      const pipeline = client.pipeline()
      for (let n = 0; n < MANY / 4; n++) pipeline.set(`k${n % 100}`, n).get(`k${n % 100}`).incr('n').get('n')
      const replies = (await pipeline.exec()).map(([error, value]) => error ?? value)
      assert.equal(replies.length, MANY)
      for (let n = 0; n < MANY / 4; n++) {
        assert.deepEqual(replies.slice(4 * n, 4 * n + 4), ['OK', `${n}`, n + 1, `${n + 1}`])
      }
      // Many at once without a pipeline: ioredis sends them as they come.
      const counts = await Promise.all(Array.from({ length: MANY }, () => client.incr('m')))
      assert.deepEqual(counts, Array.from({ length: MANY }, (_, n) => n + 1))
    })

    test('large values', async () => {
      await client.set('k', LARGE)
      for (let n = 0; n < 3; n++) assert.ok(LARGE.equals(await client.getBuffer('k')))
      await client.rpush('l', LARGE, 'small', LARGE)
      const [first, small, last] = await client.lrangeBuffer('l', 0, -1)
      assert.ok(LARGE.equals(first) && LARGE.equals(last))
      assert.equal(small.toString(), 'small')
    })

    test('pub/sub', async () => {
      const subscriber = connect()
      const heard = []
      subscriber.on('message', (channel, message) => heard.push([channel, message]))
      subscriber.on('pmessage', (pattern, channel, message) => heard.push([pattern, channel, message]))
      assert.equal(await subscriber.subscribe('c', 'd'), 2)
      assert.equal(await subscriber.psubscribe('c*'), 3)
      // ioredis loses count of what is left where a connection has both kinds.
      const sharded = connect()
      let near
      sharded.on('smessage', (channel, message) => (near = [channel, message]))
      await sharded.ssubscribe('shard')
      assert.equal(await client.publish('c', 'hello'), 2)
      assert.equal(await client.spublish('shard', 'near'), 1)
      await eventually(() => near && heard.length === 2, 'three messages')
      assert.deepEqual([...heard, near], [['c', 'hello'], ['c*', 'c', 'hello'], ['shard', 'near']])
      await subscriber.unsubscribe('c', 'd')
      await subscriber.punsubscribe('c*')
      await sharded.sunsubscribe('shard')
      assert.equal(await subscriber.set('k', 'after'), 'OK')
      assert.equal(await subscriber.get('k'), 'after')
    })

    test('blocking', async () => {
      const waiting = client.blpop('q', PATIENCE / 1000)
      await program.somebodyWaits()
      await connect().rpush('q', 'late')
      assert.deepEqual(await waiting, ['q', 'late'])
      assert.equal(await client.blpop('q', 0.1), null)
      assert.equal(await client.get('q'), null)
    })

    test('scripts', async () => {
      client.defineCommand('add', { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" })
      await client.set('n', 1)
      assert.equal(await client.get('n'), '1')
      for (const n of [3, 5, 7]) {
        assert.equal(await client.add('n', 2), n)
        assert.equal(await client.get('n'), `${n}`)
      }
      const replies = await client.pipeline().add('n', 1).get('n').exec()
      assert.deepEqual(replies, [[null, 8], [null, '8']])
      await assert.rejects(client.eval("return redis.error_reply('ERR mine')", 0), /mine/)
    })

    test('databases and users', async () => {
      await client.acl('SETUSER', 'someone', 'on', '>secret', '~open:*', '+@all')
      await client.set('open:k', 'zero')
      const other = connect({ db: 1 })
      assert.equal(await other.get('open:k'), null)
      await other.set('open:k', 'one')
      const someone = connect({ username: 'someone', password: 'secret' })
      assert.equal(await someone.acl('WHOAMI'), 'someone')
      assert.equal(await someone.get('open:k'), 'zero')
      assert.equal(await other.get('open:k'), 'one')
      await assert.rejects(someone.get('shut:k'), /NOPERM/)
      await other.select(0)
      assert.equal(await other.get('open:k'), 'zero')
    })

    test('the upstream restarts', async () => {
      const subscriber = connect()
      const heard = []
      subscriber.on('message', (_, message) => heard.push(message))
      await subscriber.subscribe('c')
      await client.set('k', 1)
      await program.restartUpstream()
      await eventually(() => client.set('k', 2), 'service again')
      assert.equal(await client.get('k'), '2')
      await eventually(async () => (await client.publish('c', 'back')) && heard.includes('back'), 'the subscription again')
    })
  })
}
