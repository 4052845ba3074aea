// Why a test does not pass, for those that are not meant to. One that is missing here has no excuse.

const byDeviation = name => `school: deviation \`${name}\``
const wrongRange = 'announces bytes 4 to 9 and sends 5 bytes: to pass is to trust a wrong `Content-Range` and to join ' +
  'what has no strong validator (RFC 9110 §14.4, RFC 9111 §3.4)'

/// By test: the reason in every profile, or in the school profile alone.
export const REASONS = {
  'conditional-lm-fresh-no-lm': {
    all: 'wants 304 for an `If-Modified-Since` older than the stored `Date`; by RFC 9111 §4.3.2 the two are compared, hence 200'
  },
  'partial-store-partial-reuse-partial': { all: wrongRange },
  'partial-store-partial-reuse-partial-byterange': { all: wrongRange },
  'partial-store-partial-reuse-partial-absent': { all: wrongRange },
  'partial-store-partial-reuse-partial-suffix': { all: wrongRange },
  'partial-store-partial-complete': {
    all: 'answers `bytes=-5` with bytes 0 to 4 and no validator: RFC 9111 §3.4 forbids to complete that'
  },
  'vary-normalise-lang-order': { all: 'some sites rank languages by their order: `en, de` and `de, en` are two requests' },
  'vary-normalise-lang-select': { all: 'would have the cache choose a language in the site\'s place' },
  'headers-store-Set-Cookie': { school: byDeviation('set-cookie') },
  'headers-store-Set-Cookie2': { school: byDeviation('set-cookie') },
  'other-set-cookie': { school: byDeviation('set-cookie') },
  'other-cookie': { school: byDeviation('cookie-reused') },
  'other-authorization-public': { school: byDeviation('authorization') },
  'other-authorization-must-revalidate': { school: byDeviation('authorization') },
  'other-authorization-smaxage': { school: byDeviation('authorization') },
  'method-POST': { school: byDeviation('post') },
  ...Object.fromEntries([404, 405, 410, 414, 501, 599].map(status =>
    [`heuristic-${status}-cached`, { school: byDeviation('error-without-freshness') }]))
}

/// The reason that covers a failure in all of these profiles, or none.
export function reason (id, profiles) {
  const { all, school } = REASONS[id] ?? {}
  return all ?? (profiles.every(profile => profile === 'school') ? school : undefined)
}
