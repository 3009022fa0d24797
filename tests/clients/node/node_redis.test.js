// node-redis over TCP and a Unix socket, in RESP2 and RESP3.

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { createClient, defineScript, RESP_TYPES, WatchError } from '@redis/client'
import { BOUND, eventually, LARGE, MANY, PATIENCE, Program } from './program.js'

const add = defineScript({
  SCRIPT: "return redis.call('incrby', KEYS[1], ARGV[1])",
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, key, by) {
    parser.pushKey(key)
    parser.push(by.toString())
  },
  transformReply: undefined,
})

for (const [transport, RESP] of [['tcp', 2], ['tcp', 3], ['unix', 2], ['unix', 3]]) {
  describe(`node-redis, ${transport}, RESP${RESP}`, { timeout: BOUND }, () => {
    let program, client
    const made = []

    async function connect(options) {
      const socket = transport === 'tcp' ? { port: program.port } : { path: program.socket, tls: false }
      const redis = createClient({ RESP, socket, scripts: { add }, ...options })
      redis.on('error', () => {}) // also told by the command that fails
      made.push(redis)
      return redis.connect()
    }

    const discard = () => made.splice(0).forEach((redis) => redis.isOpen && redis.destroy())

    before(async () => {
      program = await Program.start()
    })
    beforeEach(async () => {
      discard()
      client = await connect()
      await client.flushAll()
    })
    after(async () => {
      discard()
      await program.stop()
    })

    test('strings to sorted sets', async () => {
      assert.equal(await client.set('s', 'v'), 'OK')
      assert.equal(await client.get('s'), 'v')
      assert.equal(await client.incrBy('n', 5), 5)
      await client.mSet({ a: '1', b: '2' })
      assert.deepEqual(await client.mGet(['a', 'b', 'none']), ['1', '2', null])
      await client.hSet('h', { f: 1, g: 2 })
      assert.deepEqual({ ...(await client.hGetAll('h')) }, { f: '1', g: '2' })
      await client.rPush('l', ['1', '2', '3'])
      assert.deepEqual(await client.lRange('l', 0, -1), ['1', '2', '3'])
      assert.equal(await client.lPopCount('none', 2), null)
      await client.sAdd('t', 'x')
      assert.deepEqual([...(await client.sMembers('t'))], ['x'])
      await client.zAdd('z', [{ value: 'm', score: 1.5 }, { value: 'inf', score: Infinity }])
      const scores = [{ value: 'm', score: 1.5 }, { value: 'inf', score: Infinity }]
      assert.deepEqual(await client.zRangeWithScores('z', 0, -1), scores)
      assert.equal(await client.zScore('z', 'm'), 1.5)
      assert.deepEqual(await client.geoPos('none', 'm'), [null])
      await assert.rejects(client.lPush('s', '1'), /WRONGTYPE/)
      await assert.rejects(client.sendCommand(['NOSUCH', 'x']), /unknown command/)
    })

    test('streams', async () => {
      await client.xAdd('s', '1-1', { f: '1' })
      await client.xAdd('s', '2-1', { f: '2' })
      const ids = (entries) => entries.map((entry) => entry.id)
      assert.deepEqual(ids(await client.xRange('s', '-', '+')), ['1-1', '2-1'])
      await client.xGroupCreate('s', 'g', '0')
      // node-redis takes XREAD's and XREADGROUP's map apart in RESP2 only.
      const raw = ['XREADGROUP', 'GROUP', 'g', 'one', 'STREAMS', 's', '>']
      const entries = [['1-1', ['f', '1']], ['2-1', ['f', '2']]]
      const read = await client.sendCommand(raw)
      assert.deepEqual(RESP === 2 ? Object.fromEntries(read) : { ...read }, { s: entries })
      assert.equal(await client.sendCommand(raw), null)
      assert.equal((await client.xPending('s', 'g')).pending, 2)
      assert.equal(await client.xAck('s', 'g', ['1-1', '2-1']), 2)
      assert.equal((await client.xPending('s', 'g')).firstId, null)
      const waiting = client.sendCommand(['XREAD', 'BLOCK', `${PATIENCE}`, 'STREAMS', 's', '$'])
      await program.somebodyWaits()
      await (await connect()).xAdd('s', '3-1', { f: '3' })
      assert.match(JSON.stringify(await waiting), /"3-1",\["f","3"\]/)
    })

    test('pipelines and transactions', async () => {
      const replies = await Promise.allSettled([client.set('k', '1'), client.get('k'), client.lPush('k', '1'), client.incr('k')])
      assert.deepEqual([replies[0].value, replies[1].value, replies[3].value], ['OK', '1', 2])
      assert.match(replies[2].reason.message, /WRONGTYPE/)
      assert.deepEqual(await client.multi().set('k', '5').incr('k').get('k').exec(), ['OK', 6, '6'])
      await client.watch('k')
      await (await connect()).set('k', 'elsewhere')
      await assert.rejects(client.multi().set('k', 'here').exec(), WatchError)
      assert.equal(await client.get('k'), 'elsewhere')
    })

    test('pipelines of many', async () => {
      const pipeline = client.multi()
      for (let n = 0; n < MANY / 4; n++) pipeline.set(`k${n % 100}`, n).get(`k${n % 100}`).incr('n').get('n')
      const expected = Array.from({ length: MANY / 4 }, (_, n) => ['OK', `${n}`, n + 1, `${n + 1}`]).flat()
      assert.deepEqual(await pipeline.execAsPipeline(), expected)
      await client.del('n')
      for (let n = 0; n < MANY / 4; n++) pipeline.set(`k${n % 100}`, n).get(`k${n % 100}`).incr('n').get('n')
      const counts = await Promise.all(Array.from({ length: MANY }, () => client.incr('m')))
      assert.deepEqual(counts, Array.from({ length: MANY }, (_, n) => n + 1))
    })

    test('large values', async () => {
      const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
      await client.set('k', LARGE)
      for (let n = 0; n < 3; n++) assert.ok(LARGE.equals(await binary.get('k')))
      await client.rPush('l', [LARGE, 'small', LARGE])
      const [first, small, last] = await binary.lRange('l', 0, -1)
      assert.ok(LARGE.equals(first) && LARGE.equals(last))
      assert.equal(small.toString(), 'small')
    })

    test('pub/sub', async () => {
      const subscriber = await connect()
      const heard = []
      const listener = (message, channel) => heard.push([channel, message])
      await subscriber.subscribe(['c', 'd'], listener)
      await subscriber.pSubscribe('c*', listener)
      await subscriber.sSubscribe('shard', listener)
      assert.equal(await client.publish('c', 'hello'), 2)
      assert.equal(await client.sPublish('shard', 'near'), 1)
      await eventually(() => heard.length === 3, 'three messages')
      assert.deepEqual(heard, [['c', 'hello'], ['c', 'hello'], ['shard', 'near']])
      await subscriber.unsubscribe(['c', 'd'])
      await subscriber.pUnsubscribe('c*')
      await subscriber.sUnsubscribe('shard')
      // In RESP2 node-redis gives buffers here, for a while.
      assert.equal(String(await subscriber.set('k', 'after')), 'OK')
      assert.equal(String(await subscriber.get('k')), 'after')
    })

    test('blocking', async () => {
      const waiting = client.blPop('q', PATIENCE / 1000)
      await program.somebodyWaits()
      await (await connect()).rPush('q', 'late')
      assert.deepEqual({ ...(await waiting) }, { key: 'q', element: 'late' })
      assert.equal(await client.blPop('q', 0.1), null)
      assert.equal(await client.get('q'), null)
    })

    test('scripts and functions', async () => {
      await client.set('n', '1')
      assert.equal(await client.get('n'), '1')
      for (const n of [3, 5, 7]) {
        assert.equal(await client.add('n', 2), n)
        assert.equal(await client.get('n'), `${n}`)
      }
      await assert.rejects(client.eval("return redis.error_reply('ERR mine')"), /mine/)
      const body = "redis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)"
      await client.functionLoad(`#!lua name=lib\n${body}`, { REPLACE: true })
      await client.fCall('put', { keys: ['n'], arguments: ['by function'] })
      assert.equal(await client.get('n'), 'by function')
    })

    test('databases and users', async () => {
      await client.aclSetUser('someone', ['on', '>secret', '~open:*', '+@all'])
      await client.set('open:k', 'zero')
      const other = await connect({ database: 1 })
      assert.equal(await other.get('open:k'), null)
      await other.set('open:k', 'one')
      const someone = await connect({ username: 'someone', password: 'secret' })
      assert.equal(await someone.aclWhoAmI(), 'someone')
      assert.equal(await someone.get('open:k'), 'zero')
      assert.equal(await other.get('open:k'), 'one')
      await assert.rejects(someone.get('shut:k'), /NOPERM/)
      await other.select(0)
      assert.equal(await other.get('open:k'), 'zero')
    })

    test('the upstream restarts', async () => {
      const subscriber = await connect()
      const heard = []
      await subscriber.subscribe('c', (message) => heard.push(message))
      await client.set('k', '1')
      await program.restartUpstream()
      await eventually(() => client.set('k', '2'), 'service again')
      assert.equal(await client.get('k'), '2')
      await eventually(async () => (await client.publish('c', 'back')) && heard.includes('back'), 'the subscription again')
    })
  })
}
