// One run of the suite's own client through one door of the box; its results go to the parent as a message.
//
// A process of its own a run, because the suite's tests are changed by running them and its results are global.

import path from 'node:path'
import { pathToFileURL } from 'node:url'

/// The name by which the box knows the suite's server.
export const SITE = 'cache-tests.test'

// What `fetch` is given as a URL names the site; this sends it to the door, as a client of that door would.
function throughDoor ({ mode, door }) {
  return dispatch => (options, handler) => dispatch({
    ...options,
    origin: `http://${door}`,
    path: mode === 'forward' ? `${options.origin}${options.path}` : options.path,
    headers: withHost(options.headers, new URL(options.origin).host)
  }, handler)
}

// Node's own dispatcher, as the suite uses it. That of another undici joins field lines in another way.
async function ownDispatcher () {
  await fetch('data:,')
  return globalThis[Symbol.for('undici.globalDispatcher.1')]
}

function withHost (headers, host) {
  if (Array.isArray(headers)) return ['host', host, ...headers]
  const entries = headers && typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers ?? {})
  return Object.fromEntries([['host', host], ...entries])
}

async function run (job) {
  const from = file => import(pathToFileURL(path.join(job.suite, file)).href)
  const { default: groups } = await from('tests/index.mjs')
  const { runTests, getResults } = await from('test-engine/client/runner.mjs')
  const agent = await ownDispatcher()
  const plainFetch = globalThis.fetch
  globalThis.fetch = (url, init = {}) =>
    plainFetch(url, { ...init, dispatcher: (init.dispatcher ?? agent).compose(throughDoor(job)) })

  const wanted = groups
    .map(group => ({ ...group, tests: group.tests.filter(test => !job.ids || job.ids.includes(test.id)) }))
    .filter(group => group.tests.length > 0)
  if (job.dump) wanted.forEach(group => group.tests.forEach(test => { test.dump = true }))
  await runTests(wanted, false, `http://${SITE}`, job.atOnce)
  return getResults()
}

if (process.send) {
  process.once('message', async job => {
    try {
      process.send({ results: await run(job) }, () => process.exit(0))
    } catch (error) {
      process.send({ error: String(error?.stack ?? error) }, () => process.exit(1))
    }
  })
}
