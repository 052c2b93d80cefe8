// The reference implementation of JSONata, one request and one answer a line, both JSON:
//   {"do": "read", "text"}                                  gives the functions, variables and paths that an expression names
//   {"do": "evaluate", "text", "variables", "milliseconds"} gives its value, or {"error"}
// node reference.cjs FOLDER, where FOLDER holds the node_modules.
'use strict';

const { createHash, randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const readline = require('node:readline');

const jsonata = createRequire(`${process.argv[2]}/`)('jsonata');

// $millis and $now are the reference's own: they ask for the time once at the beginning of an evaluation.
let milliseconds = 0;
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [milliseconds]));
  }
};

const HASHES = { MD5: 'md5', 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };

// What Step Functions adds to JSONata, as its developer guide describes it.
const ADDED = {
  parse: (text) => JSON.parse(text),
  partition: (items, size) =>
    Array.from({ length: Math.ceil(items.length / size) }, (_, part) => items.slice(part * size, (part + 1) * size)),
  range: (first, last, step) => {
    const numbers = [];
    for (let number = first; step > 0 ? number <= last : number >= last; number += step) numbers.push(number);
    return numbers;
  },
  hash: (text, algorithm = 'SHA-256') => createHash(HASHES[algorithm]).update(text).digest('hex'),
  random: () => Math.random(),
  uuid: () => randomUUID(),
};

function compiled(text) {
  const expression = jsonata(text);
  for (const [name, body] of Object.entries(ADDED)) expression.registerFunction(name, body);
  return expression;
}

function variableOf(node) {
  if (!node) return null;
  if (node.type === 'path') return node.steps.length === 1 ? variableOf(node.steps[0]) : null;
  return node.type === 'variable' ? node.value : null;
}

// Whether the reference or Step Functions has a function of this name; $eval is in the reference and not in Step Functions.
const known = new Map();
async function isFunction(name) {
  if (!known.has(name)) {
    const made = await compiled(`$type($${name})`).evaluate(null, {});
    known.set(name, made === 'function' && name !== 'eval');
  }
  return known.get(name);
}

function read(node, found) {
  if (Array.isArray(node)) {
    for (const item of node) read(item, found);
    return;
  }
  if (!node || typeof node !== 'object' || node instanceof RegExp) return;
  if (node.type === 'function' || node.type === 'partial') {
    const name = variableOf(node.procedure);
    if (name !== null) {
      found.functions.add(name);
      read(node.arguments, found);
      return;
    }
  }
  if (node.type === 'bind') found.own.add(node.lhs.value);
  if (node.type === 'lambda') for (const argument of node.arguments) found.own.add(argument.value);
  if (node.type === 'variable') found.variables.add(node.value);
  if (node.type === 'path' && node.steps[0].type === 'variable') {
    const names = [node.steps[0].value];
    for (const step of node.steps.slice(1)) {
      if (step.type !== 'name') break;
      names.push(step.value);
      if (step.stages || step.predicate) break;
    }
    found.paths.add(JSON.stringify(names));
  }
  for (const [key, value] of Object.entries(node)) if (key !== 'position') read(value, found);
}

async function answer(request) {
  try {
    const expression = compiled(request.text);
    if (request.do === 'read') {
      const found = { functions: new Set(), variables: new Set(), own: new Set(), paths: new Set() };
      read(expression.ast(), found);
      const unknown = [];
      for (const name of found.functions) if (!found.own.has(name) && !(await isFunction(name))) unknown.push(name);
      return {
        functions: [...found.functions],
        unknownFunctions: unknown,
        variables: [...found.variables].filter((name) => name && !found.own.has(name)),
        paths: [...found.paths].map((path) => JSON.parse(path)).filter((path) => !found.own.has(path[0])),
      };
    }
    milliseconds = request.milliseconds;
    const value = await expression.evaluate(null, { ...request.variables, eval: undefined });
    if (value === undefined) return { error: 'nothing (undefined)' };
    if (typeof value === 'function' || (value && value._jsonata_function) || (value && value._jsonata_lambda)) {
      return { error: 'a function' };
    }
    return { value };
  } catch (error) {
    return { error: `${error.code || ''} ${error.message || error}`.trim() };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}

main();
