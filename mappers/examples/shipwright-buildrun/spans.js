// What mappers of any kind need: values of the contract (wit/v0.1.0/mapper.wit). Names are in lower camel case there, a variant is
// {tag, val}, an option a value or undefined, a u64 a BigInt.

/** A time of the contract from RFC 3339, as the API server writes it: to the second. */
export function timestamp(text) {
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds)) return undefined;
  return { nanoseconds: BigInt(milliseconds) * 1_000_000n, precision: 'second' };
}

/** A list with an attribute, or an empty one where there is nothing to say. */
export const text = (key, value) =>
  value === undefined || value === '' ? [] : [{ key, value: { tag: 'text', val: String(value) } }];

/** A span; without an end it goes on. */
export function span(key, name, start, end) {
  return {
    key,
    name,
    kind: 'internal',
    start,
    end,
    status: { tag: 'unset' },
    attributes: [],
    events: [],
    links: [],
  };
}

/** Attributes that say which object it is. */
export const about = (kind, metadata) => [
  ...text('k8s.object.kind', kind),
  ...text('k8s.object.name', metadata.name),
  ...text('k8s.object.uid', metadata.uid),
  ...text('k8s.namespace.name', metadata.namespace),
];
