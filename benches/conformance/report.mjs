// What is printed: lines for a person, JSON for a program, tables for docs/conformance.md.

import fs from 'node:fs'
import path from 'node:path'
import { reason } from './reasons.mjs'
import { NOT_PASSED, count, verdicts } from './score.mjs'

const KINDS = ['required', 'optimal', 'check']
const figure = (judged, kind) => { const { passed, all } = count(judged, kind); return `${passed}/${all}` }

const BEGIN = '<!-- figures: written by benches/conformance/run.mjs --into, not by hand -->'
const END = '<!-- end of the figures -->'

/// A document with its figures replaced.
export function into (document, tables) {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`the document needs the lines ${BEGIN} and ${END}`)
  return `${document.slice(0, begin)}${BEGIN}\n\n${tables}\n\n${document.slice(end)}`
}

/// One run of one profile and mode, for a person.
export function text ({ profile, mode, runs, judged }) {
  const lines = [`${profile}, ${mode}: required ${figure(judged, 'required')} optimal ${figure(judged, 'optimal')} ` +
    `(check ${figure(judged, 'check')}; ${runs} ${runs === 1 ? 'run' : 'runs'})`]
  for (const kind of ['required', 'optimal']) {
    for (const verdict of NOT_PASSED) {
      const tests = judged.filter(test => test.kind === kind && test.verdict === verdict)
      if (tests.length === 0) continue
      lines.push(`  ${kind}, ${verdict}:`)
      tests.forEach(test => {
        const known = reason(test.id, [profile]) ? '' : ', no reason is known'
        lines.push(`    ${test.id}${test.stable ? '' : ' (unstable)'}${known}${test.detail ? `: ${test.detail}` : ''}`)
      })
    }
  }
  return lines.join('\n')
}

/// The tables of docs/conformance.md: figures, groups, and every required or optimal test that did not pass.
export function markdown (outcomes, suite, folder) {
  return [figures(outcomes, suite, folder), byGroup(outcomes), notPassed(outcomes)].join('\n\n')
}

function figures (outcomes, suite, folder) {
  const rows = outcomes.map(({ profile, mode, judged }) => [`**bulaq, \`${profile}\`, ${mode}**`, judged])
  const peers = stored(folder).map(({ name, version, results }) => [`${name} ${version}`, verdicts(suite, [results])])
    .sort(([, a], [, b]) => count(b, 'required').passed - count(a, 'required').passed)
  // Of the peers only what is comparable: caches that stand between a client and an origin.
  const row = ([name, judged]) => `| ${name} | ${KINDS.map(kind => figure(judged, kind)).join(' | ')} |`
  return ['| cache | required | optimal | check |', '| --- | --- | --- | --- |', ...rows.map(row), ...peers.map(row)].join('\n')
}

// The results that others published in the suite's repository.
function stored (folder) {
  const index = fs.readFileSync(path.join(folder, 'results/index.mjs'), 'utf8')
  return [...index.matchAll(/\{[^{}]*\}/g)].flatMap(([entry]) => {
    const field = name => entry.match(new RegExp(`${name}:\\s*'([^']*)'`))?.[1]
    const file = field('file') && path.join(folder, 'results', field('file'))
    if (!file || field('type') === 'browser' || !fs.existsSync(file)) return []
    return [{ name: field('name'), version: field('version') ?? '', results: JSON.parse(fs.readFileSync(file, 'utf8')) }]
  })
}

function byGroup (outcomes) {
  const groups = [...new Set(outcomes[0].judged.map(test => test.group))]
  const lines = [
    `| group | ${outcomes.map(({ profile, mode }) => `\`${profile}\`, ${mode}`).join(' | ')} |`,
    `| --- |${' --- |'.repeat(outcomes.length)}`
  ]
  for (const group of groups) {
    const cells = outcomes.map(({ judged }) => {
      const of = judged.filter(test => test.group === group)
      return ['required', 'optimal'].filter(kind => count(of, kind).all > 0).map(kind => `${figure(of, kind)} ${kind}`).join(', ')
    })
    if (cells.some(cell => cell !== '')) lines.push(`| ${group} | ${cells.join(' | ')} |`)
  }
  return lines.join('\n')
}

function notPassed (outcomes) {
  const lines = [
    `| test | kind | ${outcomes.map(({ profile, mode }) => `\`${profile}\`, ${mode}`).join(' | ')} | why |`,
    `| --- | --- |${' --- |'.repeat(outcomes.length)} --- |`
  ]
  outcomes[0].judged.forEach((test, index) => {
    if (test.kind === 'check' || outcomes.every(({ judged }) => judged[index].verdict === 'passed')) return
    const failing = outcomes.filter(({ judged }) => judged[index].verdict !== 'passed').map(({ profile }) => profile)
    const cells = outcomes.map(({ judged }) => judged[index].verdict + (judged[index].stable ? '' : ' (unstable)'))
    lines.push(`| \`${test.id}\` | ${test.kind} | ${cells.join(' | ')} | ${reason(test.id, failing) ?? '**no reason is known**'} |`)
  })
  return lines.join('\n')
}
