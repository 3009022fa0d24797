// nearside in front of a redis-server of its own, for one test.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export const PATIENCE = 15_000
// For all tests of one kind of client together: ends what hangs.
export const BOUND = 60_000
export const MANY = 10_000
// 8 MiB of every byte there is.
export const LARGE = Buffer.alloc(8 << 20, Buffer.from(Array.from({ length: 256 }, (_, n) => n)))

// Polls until `probe` gives something true; an error counts as nothing yet.
export async function eventually(probe, what) {
  const deadline = Date.now() + PATIENCE
  while (Date.now() < deadline) {
    const value = await Promise.resolve().then(probe).catch(() => null)
    if (value) return value
    await pause(10)
  }
  assert.fail(`waited in vain for ${what}`)
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

// The first bytes that come back for an inline request; rejects where nobody listens.
function ask(port, request) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request))
    socket.once('data', (data) => resolve(data.toString()) || socket.destroy())
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
}

const children = new Set()
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

function start(command, args, stderr = 'ignore') {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { stdio: ['ignore', 'ignore', stderr] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

async function end(child) {
  if (!child || !children.has(child)) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

export class Program {
  static async start() {
    const program = new Program()
    program.directory = mkdtempSync(path.join(os.tmpdir(), 'nearside-node-'))
    try {
      program.upstreamPort = await freePort()
      await program.startUpstream()
      await program.startNearside()
    } catch (error) {
      await program.stop()
      throw error
    }
    return program
  }

  async startUpstream() {
    const args = ['--port', this.upstreamPort, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    this.upstream = start('redis-server', args)
    await eventually(async () => (await ask(this.upstreamPort, 'PING\r\n')).startsWith('+PONG'), 'redis-server')
  }

  async restartUpstream() {
    await end(this.upstream)
    await this.startUpstream()
  }

  // Until a client waits in the upstream.
  async somebodyWaits() {
    await eventually(async () => /blocked_clients:[1-9]/.test(await ask(this.upstreamPort, 'INFO clients\r\n')), 'a client to wait')
  }

  async startNearside() {
    const log = path.join(this.directory, 'nearside.log')
    this.socket = path.join(this.directory, 'nearside.sock')
    const file = openSync(log, 'w')
    const listen = ['--listen', '127.0.0.1:0', '--listen', `unix:${this.socket}`, '--http', 'off']
    const binary = process.env.PROGRAM_UNDER_TEST ?? 'target/debug/nearside'
    this.nearside = start(binary, [...listen, '--upstream', `redis://127.0.0.1:${this.upstreamPort}`], file)
    closeSync(file)
    const listening = /listening on 127\.0\.0\.1:(\d+)/
    this.port = Number((await eventually(() => readFileSync(log, 'utf8').match(listening), 'nearside'))[1])
    await eventually(async () => (await ask(this.port, 'PING\r\n')).startsWith('+PONG'), 'the lane')
  }

  async stop() {
    await end(this.nearside)
    await end(this.upstream)
    rmSync(this.directory, { recursive: true })
  }
}
