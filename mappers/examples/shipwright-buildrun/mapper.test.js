// node --test

import assert from 'node:assert/strict';
import test from 'node:test';
import { mapper } from './mapper.js';

const mapped = (object) =>
  mapper.mapSubject({ tag: 'object', val: { watch: 0, json: JSON.stringify(object), deleted: false, attached: [], omitted: 0 } });

test('a BuildRun that failed says why', () => {
  const outcome = mapped({
    metadata: { name: 'image-4x7', namespace: 'jx', uid: 'u', creationTimestamp: '2026-03-02T09:00:02Z' },
    status: {
      startTime: '2026-03-02T09:00:07Z',
      completionTime: '2026-03-02T09:01:07Z',
      conditions: [null, { type: 'Succeeded', status: 'False', reason: 'BuildRunTimeout', message: 'too late' }],
    },
  });
  const [{ main, children }] = outcome.val;
  assert.deepEqual(main.status, { tag: 'error', val: 'too late' });
  assert.equal(main.end.nanoseconds - main.start.nanoseconds, 65_000_000_000n);
  assert.equal(children[0].span.end.nanoseconds - main.start.nanoseconds, 5_000_000_000n);
});

test('what has no times yet has to wait', () => {
  assert.deepEqual(mapped({ metadata: { name: 'image' } }), { tag: 'wait', val: 'no-creation-time' });
});
