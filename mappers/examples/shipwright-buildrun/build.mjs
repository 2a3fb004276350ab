// Makes a component of mapper.js: node build.mjs [FILE]

import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { componentize } from '@bytecodealliance/componentize-js';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize({
  sourcePath: here('mapper.js'),
  witPath: here('../../../wit/v0.1.0/mapper.wit'),
  worldName: 'span-mapper',
});
const file = process.argv[2] ?? here('shipwright.wasm');
await writeFile(file, component);
console.log(`${file}: ${component.length} bytes`);
