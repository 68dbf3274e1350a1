// What the load scripts share: members who join and log in as an app does, the requests they send, the knobs and counts of
// the Interwater stand-in, and the promises that every run is held to. README.md says how to run them.

import http from 'k6/http';
import exec from 'k6/execution';
import { check, fail } from 'k6';
import { Counter } from 'k6/metrics';

export const BASE = trim(__ENV.BASE_URL || 'http://127.0.0.1:8080');
export const CONTROL = trim(__ENV.CONTROL_URL || 'http://127.0.0.1:8082');

// With REMOTE=true the gateways have no JWT secret: each run also counts how often Glory's check_login is asked.
const REMOTE = __ENV.REMOTE === 'true';
const GLORY_CONTROL = trim(__ENV.GLORY_CONTROL_URL || 'http://127.0.0.1:8081');
const VERDICT = 60000; // milliseconds that a verdict counts; the gateway's default MEMBER_CACHE_TTL
const REPLICAS = 3; // that may find at the same time that it has run out

const MEMBER_LIMIT = 100; // requests a second; the gateway's default MEMBER_RATE_LIMIT
const CLOSES = '점심 번개'; // a room of the stand-in that is not always open

// Every request of the load bears a kind; what setup and teardown ask bears none, and meets no threshold.
export const ROOM = { kind: 'room' };

const authCalls = new Counter('auth_calls');

// A 404 or a 304 is no more an answer here than a 500 is.
http.setResponseCallback(http.expectedStatuses(200));

// optionsFor makes the options of a script: its scenarios, the longest p99 of each kind in milliseconds, and the threshold
// on the calls of /v1/auth. Nothing may fail, and no iteration be dropped: a gateway that can't keep up shows as that.
// A run that fails on a broad front ends early.
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
    // Without this a run that asked nothing would pass.
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

// steadily is a scenario of an open model: rate iterations a second, whether or not the earlier ones are answered. longest
// is what an answer may take, in milliseconds.
export function steadily(rate, duration, longest, more) {
  return { executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration, preAllocatedVUs: workers(rate, longest), ...more };
}

// workers are as many as are under way when every answer takes as long as allowed, and some for a stutter. They are made
// before the clock starts, since making one meanwhile would disturb the measurement.
export function workers(rate, longest) {
  return Math.ceil(rate * (longest / 1000)) + 25;
}

// enough fails a run whose members would be stopped by their own limit.
export function enough(members, rate) {
  if (rate > members * MEMBER_LIMIT) {
    fail(`${members} members may ask ${members * MEMBER_LIMIT} times a second at most, not ${rate}: raise MEMBERS`);
  }
}

// prepare is the usual setup: count the calls so far, make the members, find the rooms.
export function prepare(members) {
  const before = countBefore();
  const tokens = logIn(join(members));
  return { ...before, tokens, rooms: findRooms(tokens[0]) };
}

// countBefore is what account compares with.
export function countBefore() {
  return { began: Date.now(), authCallsBefore: stats().auth_calls, verdictsBefore: verdicts() };
}

// account is the usual teardown: it counts the token calls since prepare. A metric that is written here still meets its
// threshold.
export function account({ began, authCallsBefore, verdictsBefore, tokens }) {
  authCalls.add(stats().auth_calls - authCallsBefore);
  if (REMOTE) {
    const asked = verdicts() - verdictsBefore;
    const turns = Math.ceil((Date.now() - began) / VERDICT);
    check(asked, {
      'Glory is asked about every member': (n) => n >= tokens.length,
      // Two more are of smoke.js: one by a member itself, and one about a forged token.
      'and once for each verdict': (n) => n <= tokens.length * REPLICAS * turns + 2,
    });
  }
}

// findRooms are the names of the rooms that stay open.
export function findRooms(token) {
  const listing = http.get(`${BASE}/v1/sessions`, as(token));
  const sessions = body(listing).data;
  if (listing.status !== 200 || !Array.isArray(sessions) || sessions.length === 0) {
    fail(`no rooms to ask for: ${listing.status} ${listing.body}`);
  }
  return sessions.map((s) => s.roomName).filter((name) => name !== CLOSES);
}

// askAround is one request about rooms. Its place in the run decides who asks for what, so that two runs are alike and no
// member asks more than its share: of twenty requests two list the rooms, one asks for the license, the others for one
// room each.
export function askAround({ tokens, rooms }) {
  const n = exec.scenario.iterationInTest;
  const params = as(tokens[n % tokens.length], ROOM);
  const turn = Math.floor(n / tokens.length) + n; // else a member's turn would always be the same
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

// join makes members, with ids that no earlier run used.
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

// stats are the Interwater stand-in's own counts.
export function stats() {
  const res = http.get(`${CONTROL}/_sandbox/stats`);
  const counts = res.status === 200 ? res.json() : {};
  if (!Number.isInteger(counts.auth_calls)) fail(`${CONTROL}/_sandbox/stats: ${res.status} ${res.error} without auth_calls`);
  return counts;
}

// verdicts is how often Glory's stand-in has been asked about a member, 0 where nobody has to.
function verdicts() {
  if (!REMOTE) return 0;
  const res = http.get(`${GLORY_CONTROL}/_sandbox/stats`);
  if (res.status !== 200) fail(`${GLORY_CONTROL}/_sandbox/stats: ${res.status} ${res.error}`);
  return res.json().requests['/api/v1/check_login'];
}

// setFaults replaces the stand-in's faults; none is [].
export function setFaults(faults) {
  const res = http.put(`${CONTROL}/_sandbox/faults`, JSON.stringify(faults), json());
  if (res.status !== 200) fail(`faults: ${res.status} ${res.error} ${res.body}`);
}

// revoke makes every access token issued so far worthless at once.
export function revoke() {
  const res = http.post(`${CONTROL}/_sandbox/revoke`);
  if (res.status !== 200) fail(`revoke: ${res.status} ${res.error} ${res.body}`);
}

// body is a response's JSON, or an empty answer: an exception in a check would end the iteration without failing the check.
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

// named gathers a route's requests under one name, whatever the room.
export function named(params, name) {
  return { ...params, tags: { ...params.tags, name } };
}

function trim(url) {
  return url.replace(/\/+$/, '');
}

// whole is a number given with -e.
export function whole(name, otherwise) {
  const n = Number(__ENV[name] || otherwise);
  return Number.isInteger(n) && n > 0 ? n : fail(`${name} is not a whole number above 0: ${__ENV[name]}`);
}

// seconds is a duration given with -e, such as 90s, 20m or 1h.
export function seconds(name, otherwise) {
  const parts = /^(\d+)([smh])$/.exec(__ENV[name] || otherwise);
  if (!parts) fail(`${name} is no duration such as 90s: ${__ENV[name]}`);
  return Number(parts[1]) * { s: 1, m: 60, h: 3600 }[parts[2]];
}
