// The rebuilder of the guide: the newest state of each message, folded out of the state topic.
// It says how long that took.
"use strict";

const { consume, kafka, topic } = require("./stores");

async function main() {
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic("messages.state"));
  await admin.disconnect();
  const filled = offsets.filter(({ low, high }) => low !== high);
  const ends = new Map(filled.map(({ partition, high }) => [partition, BigInt(high)]));
  const states = new Map();
  let records = 0, began = performance.now(), finished;
  const finish = new Promise((resolve) => { finished = resolve; });

  const consumer = await consume("messages.state", {
    eachBatch: async ({ batch }) => {
      for (const { key, value } of batch.messages) {
        records += 1;
        const state = value && JSON.parse(value);
        if (!state) states.delete(key.toString());
        else if (!(states.get(state.message_id)?.version > state.version)) states.set(state.message_id, state);
      }
      if (BigInt(batch.lastOffset()) + 1n >= ends.get(batch.partition)) ends.delete(batch.partition);
      if (ends.size === 0) finished(performance.now());
    },
  }, () => { began = performance.now(); });
  const ended = ends.size ? await finish : performance.now();
  console.log(JSON.stringify({ records, seconds: (ended - began) / 1000, messages: states.size }));
  await consumer.disconnect();
}

main();
