// Members who keep asking which rooms are open, at a fixed rate. README.md
// beside this file says how to run it and what it proves.

import http from 'k6/http';
import exec from 'k6/execution';
import { check, fail } from 'k6';
import { Counter } from 'k6/metrics';

const BASE = trim(__ENV.BASE_URL || 'http://127.0.0.1:8080');
const CONTROL = trim(__ENV.CONTROL_URL || 'http://127.0.0.1:8082');
const RATE = whole('RATE', 500);
const DURATION = __ENV.DURATION || '60s';
const MEMBERS = whole('MEMBERS', 50);

const P99_MS = 250;
const MEMBER_LIMIT = 100; // requests a second; the gateway's default MEMBER_RATE_LIMIT

// Every request for a room bears this tag, joins and logins don't: hashing a
// password is slow on purpose.
const ROOM = { kind: 'room' };

const authCalls = new Counter('auth_calls');

export const options = {
  scenarios: {
    rooms: {
      // An open model: members don't wait for each other, so a slow gateway
      // gets no mercy. One that can't keep up shows as dropped iterations.
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: DURATION,
      // As many as are under way when every answer takes as long as allowed,
      // and some for a stutter. They are made before the clock starts, since
      // making one meanwhile would disturb the measurement.
      preAllocatedVUs: Math.ceil(RATE * (P99_MS / 1000)) + 25,
    },
  },
  thresholds: {
    'http_req_failed{kind:room}': ['rate==0'],
    'http_req_duration{kind:room}': [`p(99)<${P99_MS}`],
    // One request an iteration. Without this a run that asked nothing would pass.
    'http_reqs{kind:room}': ['count>0'],
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    auth_calls: ['count<=1'],
  },
  setupTimeout: '5m',
  maxRedirects: 0, // the gateway never redirects
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'max'],
};

// A 404 or a 304 is no more an answer here than a 500 is.
http.setResponseCallback(http.expectedStatuses(200));

// setup counts the token calls so far, makes the members and finds the rooms.
export function setup() {
  if (RATE > MEMBERS * MEMBER_LIMIT) {
    fail(`${MEMBERS} members may ask ${MEMBERS * MEMBER_LIMIT} times a second at most, not ${RATE}: raise MEMBERS`);
  }
  const authCallsBefore = readAuthCalls();
  const tokens = logIn(join());
  const listing = http.get(`${BASE}/v1/sessions`, as(tokens[0]));
  const sessions = body(listing).data;
  if (listing.status !== 200 || !Array.isArray(sessions) || sessions.length === 0) {
    fail(`no rooms to ask for: ${listing.status} ${listing.body}`);
  }
  return { authCallsBefore, tokens, rooms: sessions.map((s) => s.roomName) };
}

// The default function is one request. Its place in the run decides who asks for
// what, so that two runs are alike and no member asks more than its share: of
// twenty requests two list the rooms, one asks for the license, the others for
// one room each.
export default function ({ tokens, rooms }) {
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

// teardown counts the token calls since setup began. A metric that is written
// here still meets its threshold.
export function teardown({ authCallsBefore }) {
  authCalls.add(readAuthCalls() - authCallsBefore);
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

// join makes the members, with ids that no earlier run used.
function join() {
  const run = Date.now().toString(36);
  const members = Array.from({ length: MEMBERS }, (_, i) => ({
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
function logIn(members) {
  const answers = postAll('/public-api/v1/login', members.map(({ id, password }) => ({ id, password })));
  return answers.map((a) => a.data.token || fail('a login without a token'));
}

function postAll(path, payloads) {
  const params = { headers: { 'Content-Type': 'application/json' } };
  const responses = http.batch(payloads.map((p) => ['POST', BASE + path, JSON.stringify(p), params]));
  return responses.map((r) => (r.status === 200 ? body(r) : fail(`POST ${path}: ${r.status} ${r.error} ${r.body}`)));
}

// readAuthCalls asks the Interwater stand-in how often it has issued a token.
function readAuthCalls() {
  const res = http.get(`${CONTROL}/_sandbox/stats`);
  const calls = body(res).auth_calls;
  return Number.isInteger(calls) ? calls : fail(`${CONTROL}/_sandbox/stats: ${res.status} ${res.error} without auth_calls`);
}

// body is a response's JSON, or an empty answer: an exception in a check would
// end the iteration without failing the check.
function body(res) {
  try {
    const parsed = res.json();
    return { ...parsed, data: parsed.data || {} };
  } catch (_) {
    return { data: {} };
  }
}

function as(token, tags) {
  return { headers: { Authorization: `Bearer ${token}` }, tags };
}

// named gathers a route's requests under one name, whatever the room.
function named(params, name) {
  return { ...params, tags: { ...params.tags, name } };
}

function trim(url) {
  return url.replace(/\/+$/, '');
}

function whole(name, otherwise) {
  const n = Number(__ENV[name] || otherwise);
  return Number.isInteger(n) && n > 0 ? n : fail(`${name} is not a whole number above 0: ${__ENV[name]}`);
}
