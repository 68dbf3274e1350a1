// Within two seconds the load rises to a multiple; it stays there for a while and falls as fast.

import { account, askAround, enough, optionsFor, prepare, whole, workers } from './lib.js';

const BEFORE = whole('RATE', 50);
const PEAK = whole('PEAK', 800);
const MEMBERS = whole('MEMBERS', 50);

export const options = optionsFor({
  scenarios: {
    rooms: {
      executor: 'ramping-arrival-rate',
      startRate: BEFORE,
      timeUnit: '1s',
      preAllocatedVUs: workers(PEAK, 500),
      stages: [
        { target: BEFORE, duration: '10s' },
        { target: PEAK, duration: '2s' },
        { target: PEAK, duration: '10s' },
        { target: BEFORE, duration: '2s' },
        { target: BEFORE, duration: '10s' },
      ],
    },
  },
  p99: { room: 500 },
  auth: 'count<=1',
});

export function setup() {
  enough(MEMBERS, PEAK);
  return prepare(MEMBERS);
}

export const teardown = account;
export default askAround;
