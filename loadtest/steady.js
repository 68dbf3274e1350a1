// Members ask for rooms at a fixed rate.

import { account, askAround, enough, optionsFor, prepare, steadily, whole } from './lib.js';

const RATE = whole('RATE', 500);
const MEMBERS = whole('MEMBERS', 50);

export const options = optionsFor({
  scenarios: { rooms: steadily(RATE, __ENV.DURATION || '60s', 250) },
  p99: { room: 250 },
  auth: 'count<=1', // one access token serves all members; it lives longer than the run
});

export function setup() {
  enough(MEMBERS, RATE);
  return prepare(MEMBERS);
}

export const teardown = account;
export default askAround;
