#!/usr/bin/env node
// Runs the public HTTP cache test suite against the box; README.md beside this file says how.

import { execFileSync, fork } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { start } from './box.mjs'
import { into, markdown, text } from './report.mjs'
import { loadSuite, verdicts, withDependencies } from './score.mjs'

const USAGE = `usage: node benches/conformance/run.mjs --suite CHECKOUT --binary BULAQ [options]
  --profile school|rfc9111|all   default: all
  --mode reverse|forward|all     default: all
  --runs N                       how often each; a test passes if it passes each time (default: 1)
  --id ID                        only this test and those it depends on; may be repeated
  --at-once N                    tests under way at one time (default: 25, as the suite's own)
  --dump                         show every request and response
  --json | --markdown            instead of lines for a person
  --into FILE                    write the tables of --markdown into this document, between its two marks`

// Longest time one run may take. A run waits for the slowest test of each chunk; 15 chunks take about two minutes.
const RUN_MS = 15 * 60_000

const OPTIONS = {
  suite: { type: 'string' },
  binary: { type: 'string' },
  profile: { type: 'string', default: 'all' },
  mode: { type: 'string', default: 'all' },
  runs: { type: 'string', default: '1' },
  id: { type: 'string', multiple: true },
  'at-once': { type: 'string', default: '25' },
  dump: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  markdown: { type: 'boolean', default: false },
  into: { type: 'string' }
}

function choice (name, value, all) {
  if (value === 'all') return all
  if (all.includes(value)) return [value]
  throw new Error(`--${name} is ${all.join(', ')} or all`)
}

function natural (name, value) {
  if (/^[1-9][0-9]{0,3}$/.test(value)) return Number(value)
  throw new Error(`--${name} is a whole number from 1`)
}

function asked () {
  const { values } = parseArgs({ options: OPTIONS })
  if (!values.suite || !values.binary) throw new Error('--suite and --binary are needed')
  const suite = path.resolve(values.suite)
  const binary = path.resolve(values.binary)
  if (!fs.existsSync(path.join(suite, 'test-engine/cli.mjs'))) throw new Error(`${suite} is no checkout of the suite`)
  if (!fs.existsSync(path.join(suite, 'node_modules/undici'))) throw new Error(`run \`npm install\` in ${suite} first`)
  if (!fs.existsSync(binary)) throw new Error(`there is no ${binary}`)
  return {
    ...values,
    suite,
    binary,
    profiles: choice('profile', values.profile, ['rfc9111', 'school']),
    modes: choice('mode', values.mode, ['reverse', 'forward']),
    runs: natural('runs', values.runs),
    atOnce: natural('at-once', values['at-once'])
  }
}

function oneRun (job, quiet) {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('client.mjs', import.meta.url)), { stdio: ['ignore', quiet ? 'ignore' : 'inherit', quiet ? 'ignore' : 'inherit', 'ipc'] })
    const limit = setTimeout(() => { child.kill('SIGKILL'); reject(new Error('a run took too long')) }, RUN_MS)
    child.once('message', ({ results, error }) => { clearTimeout(limit); error ? reject(new Error(error)) : resolve(results) })
    child.once('error', reject)
    child.once('exit', code => { clearTimeout(limit); reject(new Error(`the suite's client ended with ${code}`)) })
    child.send(job)
  })
}

async function outcome (options, suite, ids, profile, mode) {
  const results = []
  for (let run = 0; run < options.runs; run++) {
    // A box with an empty store each time: what one run stored must not help the next.
    const box = await start({ ...options, profile, mode })
    try {
      const job = { suite: options.suite, door: box.door, mode, ids, dump: options.dump, atOnce: options.atOnce }
      results.push(await oneRun(job, !options.dump))
    } finally {
      await box.stop()
    }
  }
  const judged = verdicts(suite, results).filter(test => !ids || ids.includes(test.id))
  return { profile, mode, runs: options.runs, judged }
}

function about ({ suite, binary, runs }) {
  const said = (command, ...args) => execFileSync(command, args, { encoding: 'utf8' }).trim()
  const commit = said('git', '-C', suite, 'rev-parse', '--short=12', 'HEAD')
  const times = runs === 1 ? 'one run' : `${runs} runs each, passed only if passed every time`
  return `\`${said(binary, '--version')}\`, the suite at commit \`${commit}\`, Node ${process.versions.node}, ${times}.`
}

try {
  const options = asked()
  const suite = await loadSuite(options.suite)
  const ids = options.id && withDependencies(suite, options.id)
  const outcomes = []
  for (const profile of options.profiles) {
    for (const mode of options.modes) {
      const result = await outcome(options, suite, ids, profile, mode)
      outcomes.push(result)
      if (!options.json && !options.markdown) console.log(text(result))
    }
  }
  if (options.json) console.log(JSON.stringify(outcomes, null, 2))
  const tables = () => `${about(options)}\n\n${markdown(outcomes, suite, options.suite)}`
  if (options.markdown) console.log(tables())
  if (options.into) fs.writeFileSync(options.into, into(fs.readFileSync(options.into, 'utf8'), tables()))
} catch (error) {
  console.error(`error: ${error.message}`)
  if (/^--|Unknown option/.test(error.message)) console.error(USAGE)
  process.exit(2)
}
