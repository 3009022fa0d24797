// What a client costs the upstream: nothing, for a library's defaults and simple commands go by the shared lane.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { createClient } from '@redis/client'
import { Redis } from 'ioredis'
import { Program } from './program.js'

let program
let destroy = []

beforeEach(async () => {
  program = await Program.start()
})
afterEach(async () => {
  destroy.forEach((close) => close())
  destroy = []
  await program.stop()
})

// The connections to the upstream other than the one that asks, by id.
async function upstreamConnections() {
  const asking = new Redis({ port: program.upstreamPort })
  try {
    const own = await asking.client('ID')
    const ids = (await asking.client('LIST')).matchAll(/(?:^|\n)id=(\d+)/g)
    return [...ids].map(([, id]) => Number(id)).filter((id) => id !== own)
  } finally {
    asking.disconnect()
  }
}

async function costsNothing(connect) {
  const before = await upstreamConnections()
  assert.equal(before.length, 1)
  for (let n = 0; n < 5; n++) {
    const client = await connect()
    await client.set('k', 'v')
    for (let n = 0; n < 3; n++) assert.equal(await client.get('k'), 'v')
  }
  assert.deepEqual(await upstreamConnections(), before)
}

test('ioredis', () =>
  costsNothing(() => {
    const client = new Redis({ port: program.port })
    destroy.push(() => client.disconnect())
    return client
  }))

for (const RESP of [2, 3]) {
  test(`node-redis, RESP${RESP}`, () =>
    costsNothing(() => {
      const client = createClient({ RESP, socket: { port: program.port } })
      destroy.push(() => client.destroy())
      return client.connect()
    }))
}
