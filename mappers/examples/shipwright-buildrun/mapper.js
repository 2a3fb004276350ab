// Example: spans of the BuildRuns of Shipwright (`shipwright.io`), in JavaScript.
//
// The texts that come are JSON, and what is returned are the records and variants of the contract (wit/v0.1.0/mapper.wit).

import { about, span, text, timestamp } from './spans.js';

const FIELDS = [
  '/spec/build/name',
  '/status/startTime',
  '/status/completionTime',
  '/status/conditions',
  '/status/failureDetails',
];

export const mapper = {
  configure() {
    return {
      version: '1.0.0',
      watches: [
        {
          source: {
            tag: 'objects',
            val: { group: 'shipwright.io', versions: ['v1beta1'], kind: 'BuildRun' },
          },
          fields: FIELDS,
          attachments: [],
          annotations: [
            { key: 'lighthouse.jenkins-x.io/traceparent', value: 'traceparent' },
            { key: 'lighthouse.jenkins-x.io/tracestate', value: 'tracestate' },
            { key: 'lighthouse.jenkins-x.io/traceID', value: 'trace-id' },
          ],
        },
      ],
      features: [],
      keepsState: false,
    };
  },

  mapSubject(subject) {
    if (subject.tag !== 'object') return { tag: 'not-ours' };
    const run = JSON.parse(subject.val.json);
    const created = timestamp(run.metadata.creationTimestamp);
    if (!created) return { tag: 'wait', val: 'no-creation-time' };
    const status = run.status ?? {};
    const started = timestamp(status.startTime);
    const end = timestamp(status.completionTime);

    const main = span('', 'build', created, end);
    main.attributes = [...about('BuildRun', run.metadata), ...text('shipwright.build.name', run.spec?.build?.name)];
    const succeeded = (status.conditions ?? []).find((condition) => condition?.type === 'Succeeded');
    if (succeeded?.status === 'False') {
      main.status = { tag: 'error', val: status.failureDetails?.message ?? succeeded.message ?? '' };
      main.attributes.push(...text('error.type', succeeded.reason));
    }

    return {
      tag: 'spans',
      val: [
        {
          run: '',
          service: 'Shipwright.BuildRun',
          resourceAttributes: text('service.namespace', run.metadata.namespace),
          // Its controller, or whatever context its author gave it.
          parents: [{ tag: 'owner', val: { span: '' } }],
          main,
          children: [{ span: span('queue', 'queue', created, started ?? end) }],
          mayAnnotate: started !== undefined,
          diagnostics: [],
        },
      ],
    };
  },
};
