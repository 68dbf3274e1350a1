// What the load scripts share: members who join and log in as an app does, their requests, the faults and counts of
// the Interwater stand-in, and the thresholds of every run. README.md says how to run the scripts.

import http from 'k6/http';
import exec from 'k6/execution';
import { check, fail } from 'k6';
import { Counter } from 'k6/metrics';

export const BASE = trim(__ENV.BASE_URL || 'http://127.0.0.1:8080');
export const CONTROL = trim(__ENV.CONTROL_URL || 'http://127.0.0.1:8082');

// REMOTE=true: the gateways have no JWT secret, so each run also counts the calls of Glory's check_login.
const REMOTE = __ENV.REMOTE === 'true';
const GLORY_CONTROL = trim(__ENV.GLORY_CONTROL_URL || 'http://127.0.0.1:8081');
const VERDICT = 60000; // milliseconds that a verdict is valid; the gateway's default MEMBER_CACHE_TTL
const REPLICAS = 3; // each may ask once when a verdict expires

const MEMBER_LIMIT = 100; // requests a second; the gateway's default MEMBER_RATE_LIMIT
const CLOSES = '점심 번개'; // a room of the stand-in that is not always open

// Every request of the load has a kind. Requests of setup and teardown have none, so no threshold applies to them.
export const ROOM = { kind: 'room' };

const authCalls = new Counter('auth_calls');

// Any other status is a failure, 304 and 404 too.
http.setResponseCallback(http.expectedStatuses(200));

// optionsFor returns the options of a script: its scenarios, the highest p99 of each kind in milliseconds, and the threshold
// on the calls of /v1/auth. No request may fail and no iteration may be dropped; a gateway that can't keep up drops some.
// A run ends early if 5 % of its requests fail.
export function optionsFor({ scenarios, p99, auth }) {
  const thresholds = {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    auth_calls: [auth],
  };
  for (const [kind, limit] of Object.entries(p99)) {
    thresholds[`http_req_failed{kind:${kind}}`] = [
      'rate==0', { threshold: 'rate<0.05', abortOnFail: true, delayAbortEval: '10s' },
    ];
    thresholds[`http_req_duration{kind:${kind}}`] = [`p(99)<${limit}`];
    // Without this, a run that sent no request would pass.
    thresholds[`http_reqs{kind:${kind}}`] = ['count>0'];
  }
  return {
    scenarios,
    thresholds,
    setupTimeout: '5m',
    insecureSkipTLSVerify: true, // the fleet's balancer signs its own certificate
    maxRedirects: 0, // the gateway never redirects
    summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
  };
}

// steadily returns a scenario of an open model: it sends rate requests a second, whether or not earlier ones are answered.
// longest is the longest time of an answer, in milliseconds.
export function steadily(rate, duration, longest, more) {
  return { executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration, preAllocatedVUs: workers(rate, longest), ...more };
}

// workers returns how many workers are busy if every answer takes longest milliseconds, plus a reserve. k6 creates them
// before the clock starts, because creating one during the run would disturb the measurement.
export function workers(rate, longest) {
  return Math.ceil(rate * (longest / 1000)) + 25;
}

// enough fails a run if its members would exceed their own rate limit.
export function enough(members, rate) {
  if (rate > members * MEMBER_LIMIT) {
    fail(`${members} members may ask ${members * MEMBER_LIMIT} times a second at most, not ${rate}: raise MEMBERS`);
  }
}

// prepare is the usual setup: it counts the calls so far, makes the members and finds the rooms.
export function prepare(members) {
  const before = countBefore();
  const tokens = logIn(join(members));
  return { ...before, tokens, rooms: findRooms(tokens[0]) };
}

// countBefore returns the start values for account.
export function countBefore() {
  return { began: Date.now(), authCallsBefore: stats().auth_calls, verdictsBefore: verdicts() };
}

// account is the usual teardown: it counts the token calls since prepare. k6 applies a threshold also to a metric that is
// written here.
export function account({ began, authCallsBefore, verdictsBefore, tokens }) {
  authCalls.add(stats().auth_calls - authCallsBefore);
  if (REMOTE) {
    const asked = verdicts() - verdictsBefore;
    const turns = Math.ceil((Date.now() - began) / VERDICT);
    check(asked, {
      'Glory is asked about every member': (n) => n >= tokens.length,
      // smoke.js causes two more: a member calls it, and a forged token is checked.
      'and once for each verdict': (n) => n <= tokens.length * REPLICAS * turns + 2,
    });
  }
}

// findRooms returns the names of the rooms that stay open.
export function findRooms(token) {
  const listing = http.get(`${BASE}/v1/sessions`, as(token));
  const sessions = body(listing).data;
  if (listing.status !== 200 || !Array.isArray(sessions) || sessions.length === 0) {
    fail(`no rooms to ask for: ${listing.status} ${listing.body}`);
  }
  return sessions.map((s) => s.roomName).filter((name) => name !== CLOSES);
}

// askAround sends one request about rooms. The iteration's number decides who asks for what, so that two runs are alike and no
// member sends more than its share. Of twenty requests two list the rooms, one asks for the license, the others ask for one
// room each.
export function askAround({ tokens, rooms }) {
  const n = exec.scenario.iterationInTest;
  const params = as(tokens[n % tokens.length], ROOM);
  const turn = Math.floor(n / tokens.length) + n; // otherwise a member would always send the same request
  switch (turn % 20) {
    case 0:
    case 10:
      return list(params);
    case 5:
      return info(params);
    default:
      return room(rooms[turn % rooms.length], params);
  }
}

function list(params) {
  const res = http.get(`${BASE}/v1/sessions`, named(params, '/v1/sessions'));
  check(res, {
    'listing: 200': (r) => r.status === 200,
    'listing: rooms with names': (r) => {
      const { status, data } = body(r);
      return status === true && Array.isArray(data) && data.every((s) => typeof s.roomName === 'string');
    },
  });
}

function info(params) {
  const res = http.get(`${BASE}/v1/info`, named(params, '/v1/info'));
  check(res, {
    'license: 200': (r) => r.status === 200,
    'license: a domain': (r) => {
      const { status, data } = body(r);
      return status === true && typeof data.domain === 'string';
    },
  });
}

function room(name, params) {
  const url = `${BASE}/v1/sessions/${encodeURIComponent(name)}`;
  const res = http.get(url, named(params, '/v1/sessions/{room_name}'));
  check(res, {
    'room: 200': (r) => r.status === 200,
    'room: the one asked for': (r) => {
      const { status, data } = body(r);
      return status === true && data.roomName === name;
    },
  });
}

// join makes members with ids that no earlier run used.
export function join(count) {
  const run = Date.now().toString(36);
  const members = Array.from({ length: count }, (_, i) => ({
    id: `load-${run}-${i}`,
    password: `pw-${run}-${i}`,
    name: '홍길동',
    nickname: `load${i}`,
    email: `load-${run}-${i}@example.com`,
  }));
  postAll('/public-api/v1/join', members);
  return members;
}

// logIn returns a token for each member.
export function logIn(members) {
  const answers = postAll('/public-api/v1/login', members.map(({ id, password }) => ({ id, password })));
  return answers.map((a) => a.data.token || fail('a login without a token'));
}

function postAll(path, payloads) {
  const responses = http.batch(payloads.map((p) => ['POST', BASE + path, JSON.stringify(p), json()]));
  return responses.map((r) => (r.status === 200 ? body(r) : fail(`POST ${path}: ${r.status} ${r.error} ${r.body}`)));
}

// stats returns the Interwater stand-in's own counts.
export function stats() {
  const res = http.get(`${CONTROL}/_sandbox/stats`);
  const counts = res.status === 200 ? res.json() : {};
  if (!Number.isInteger(counts.auth_calls)) fail(`${CONTROL}/_sandbox/stats: ${res.status} ${res.error} without auth_calls`);
  return counts;
}

// verdicts returns how often Glory's stand-in has been asked about a member; 0 without REMOTE.
function verdicts() {
  if (!REMOTE) return 0;
  const res = http.get(`${GLORY_CONTROL}/_sandbox/stats`);
  if (res.status !== 200) fail(`${GLORY_CONTROL}/_sandbox/stats: ${res.status} ${res.error}`);
  return res.json().requests['/api/v1/check_login'];
}

// setFaults replaces the stand-in's faults; [] removes them.
export function setFaults(faults) {
  const res = http.put(`${CONTROL}/_sandbox/faults`, JSON.stringify(faults), json());
  if (res.status !== 200) fail(`faults: ${res.status} ${res.error} ${res.body}`);
}

// revoke ends every access token issued so far.
export function revoke() {
  const res = http.post(`${CONTROL}/_sandbox/revoke`);
  if (res.status !== 200) fail(`revoke: ${res.status} ${res.error} ${res.body}`);
}

// body returns a response's JSON, or an empty answer: an exception would end the iteration without failing the check.
export function body(res) {
  try {
    const parsed = res.json();
    return { ...parsed, data: parsed.data || {} };
  } catch (_) {
    return { data: {} };
  }
}

export function as(token, tags) {
  return { headers: { Authorization: `Bearer ${token}` }, tags };
}

export function json(tags) {
  return { headers: { 'Content-Type': 'application/json' }, tags };
}

// named gives all requests of a route one name, for any room.
export function named(params, name) {
  return { ...params, tags: { ...params.tags, name } };
}

function trim(url) {
  return url.replace(/\/+$/, '');
}

// whole reads a whole number given with -e.
export function whole(name, otherwise) {
  const n = Number(__ENV[name] || otherwise);
  return Number.isInteger(n) && n > 0 ? n : fail(`${name} is not a whole number above 0: ${__ENV[name]}`);
}

// seconds reads a duration given with -e, such as 90s, 20m or 1h.
export function seconds(name, otherwise) {
  const parts = /^(\d+)([smh])$/.exec(__ENV[name] || otherwise);
  if (!parts) fail(`${name} is no duration such as 90s: ${__ENV[name]}`);
  return Number(parts[1]) * { s: 1, m: 60, h: 3600 }[parts[2]];
}
