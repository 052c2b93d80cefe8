// node reader.cjs ADDON MODEL ADAPTER: for each text of its input, [[token, …], …], the natural logarithm of the probability that llama.cpp
// gives each token but the first. ADDON is llama.cpp itself, the file of a package @node-llama-cpp; an empty ADAPTER means none.
'use strict';

const { readFileSync } = require('node:fs');
const { dirname } = require('node:path');

const [addon, file, adapter] = process.argv.slice(2);
const llama = require(addon);
const AS_THEY_ARE = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 1 }; // the model's own probabilities

async function main() {
  llama.setLoggerLogLevel(2);
  llama.loadBackends(dirname(addon));
  await llama.init();
  const model = new llama.AddonModel(file, { addonExports: llama, gpuLayers: 0, useMmap: true });
  if (!(await model.init())) throw new Error(`llama.cpp cannot load ${file}`);
  const texts = JSON.parse(readFileSync(0, 'utf8'));
  const size = Math.max(...texts.map((text) => text.length));
  const context = new llama.AddonContext(model, { contextSize: size, batchSize: size, sequences: 1, threads: 1 });
  if (!(await context.init())) throw new Error('llama.cpp has no memory for a context');
  if (adapter) {
    const lora = new llama.AddonModelLora(model, adapter);
    await model.loadLora(lora);
    context.setLoras([lora], [1]);
  }
  const sampler = new llama.AddonSampler(model);
  sampler.applyConfig(AS_THEY_ARE);
  const all = [];
  for (const text of texts) {
    context.initBatch(text.length);
    const places = context.addToBatch(0, 0, Uint32Array.from(text), Uint32Array.from(text.keys()));
    await context.decodeBatch();
    const logarithms = [];
    for (let place = 0; place + 1 < text.length; place++) {
      const [, pairs] = await context.sampleToken(places[place], sampler, true); // token, probability, token, …
      let at = 0;
      while (pairs[at] !== text[place + 1]) at += 2;
      logarithms.push(Math.log(pairs[at + 1]));
    }
    all.push(logarithms);
    context.disposeSequence(0);
  }
  console.log(JSON.stringify(all));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
