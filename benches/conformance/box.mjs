// The two servers of a run, on free ports of loopback: the suite's origin, and the box in front of it.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { SITE } from './client.mjs'

/// How long a server may take to listen, in milliseconds.
const START_MS = 20_000

/// Starts the suite's server and the box. `stop` ends both and removes their folder.
export async function start ({ suite, binary, profile, mode, dump }) {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'bulaq-conformance-'))
  const children = []
  const stop = async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null) continue
      const ended = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGTERM')
      await Promise.race([ended, new Promise(resolve => setTimeout(resolve, 3000).unref())])
      if (child.exitCode === null) child.kill('SIGKILL')
    }
    fs.rmSync(work, { recursive: true, force: true })
  }
  try {
    const [origin, door, other] = await freePorts(3)
    children.push(spawn(process.execPath,
      ['--import', new URL('loopback.mjs', import.meta.url).href, 'test-engine/server/server.mjs'],
      {
        cwd: suite,
        stdio: ['ignore', dump ? 'inherit' : 'ignore', 'inherit'],
        env: {
          ...process.env,
          npm_config_protocol: 'http',
          npm_config_port: String(origin),
          npm_config_pidfile: path.join(work, 'server.pid')
        }
      }))
    const config = path.join(work, 'bulaq.toml')
    fs.writeFileSync(path.join(work, 'allowlist.toml'), allowlist())
    fs.writeFileSync(config, configuration({ profile, origin, door, other, mode }))
    const log = fs.openSync(path.join(work, 'bulaq.log'), 'w')
    const box = spawn(binary, ['serve', '--config', config], { stdio: ['ignore', log, log] })
    children.push(box)
    await listening(origin)
    await listening(door, () => {
      if (box.exitCode !== null) throw new Error(`the box ended:\n${fs.readFileSync(path.join(work, 'bulaq.log'), 'utf8')}`)
    })
    return { door: `127.0.0.1:${door}`, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const allowlist = () => `
[[site]]
name = "cache-tests"
title = "The HTTP cache tests"
class = "public-lessons"
hosts = ["${SITE}"]
addresses = ["127.0.0.1"]
`

// Everything at its default but the doors, the profile and where the site is. `failures-max` is the one limit that
// is raised: the suite lets its origin fail in many tests at once, and the box would give it a pause.
const configuration = ({ profile, origin, door, other, mode }) => `
allowlist = "allowlist.toml"
data = "data"
[listen]
http = ["127.0.0.1:${mode === 'reverse' ? door : other}"]
https = []
forward = [${mode === 'forward' ? `"127.0.0.1:${door}"` : ''}]
[cache]
profile = "${profile}"
[store]
size = "1 GiB"
body-max = "64 MiB"
keep-free = "64 MiB"
reserve = "1 MiB"
[origin]
failures-max = 100
[origin.hosts]
"${SITE}" = "127.0.0.1:${origin}"
[night]
window = "off"
`

async function freePorts (count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(server))
  })))
  const ports = servers.map(server => server.address().port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

async function listening (port, check = () => {}) {
  const until = Date.now() + START_MS
  for (;;) {
    check()
    const open = await new Promise(resolve => {
      const socket = net.connect(port, '127.0.0.1')
      socket.once('connect', () => { socket.destroy(); resolve(true) })
      socket.once('error', () => resolve(false))
    })
    if (open) return
    if (Date.now() > until) throw new Error(`nothing listens on port ${port} after ${START_MS / 1000} s`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
