// Verdicts of a run, by the suite's own rules, and what they add up to.

import path from 'node:path'
import { pathToFileURL } from 'node:url'

/// What a test came to. `passed` is the suite's pass or yes; the others say why not, in the suite's own words.
export const NOT_PASSED = ['failed', 'dependency', 'setup', 'retry', 'harness', 'untested']
const NAMES = {
  pass: 'passed',
  yes: 'passed',
  fail: 'failed',
  optional_fail: 'failed',
  no: 'failed',
  dependency_fail: 'dependency',
  setup_fail: 'setup',
  retry: 'retry',
  harness_fail: 'harness',
  untested: 'untested'
}

/// The suite's tests for a proxy, in their order: id, group, kind and name.
export async function loadSuite (folder) {
  const from = file => import(pathToFileURL(path.join(folder, file)).href)
  const { default: groups } = await from('tests/index.mjs')
  const { determineTestResult, resultTypes } = await from('test-engine/lib/results.mjs')
  const tests = groups.flatMap(group => group.tests
    .filter(test => test.browser_only !== true)
    .map(test => ({ id: test.id, group: group.id, kind: test.kind ?? 'required', name: test.name })))
  const nameOf = type => NAMES[Object.keys(resultTypes).find(name => resultTypes[name] === type)]
  const judge = (id, results) => nameOf(determineTestResult(groups, id, results))
  return { tests, judge, groups }
}

/// The verdict of every test over several runs: passed only if it passed in each, else its worst.
export function verdicts (suite, runs) {
  return suite.tests.map(test => {
    const each = runs.map(results => suite.judge(test.id, results))
    const bad = each.find(verdict => verdict !== 'passed')
    const detail = runs.map(results => results[test.id]).find(result => Array.isArray(result))?.[1]
    return { ...test, verdict: bad ?? 'passed', stable: new Set(each).size === 1, detail: bad && detail }
  })
}

/// Passed and all tests of one kind.
export function count (judged, kind) {
  const of = judged.filter(test => test.kind === kind)
  return { passed: of.filter(test => test.verdict === 'passed').length, all: of.length }
}

/// The tests that `ids` need to be judged: they, and all that they depend on.
export function withDependencies (suite, ids) {
  const byId = new Map(suite.groups.flatMap(group => group.tests.map(test => [test.id, test])))
  const wanted = new Set()
  const add = id => {
    if (!byId.has(id)) throw new Error(`the suite has no test ${id}`)
    if (wanted.has(id)) return
    wanted.add(id)
    ;(byId.get(id).depends_on ?? []).forEach(add)
  }
  ids.forEach(add)
  return [...wanted]
}
