// The indexer of the guide: each event that comes is a document, with a request of its own.
"use strict";

const http = require("node:http");
const { consume, endWith, env, openSearch } = require("./stores");

async function main() {
  const search = openSearch();
  const consumer = await consume("messages.created", {
    eachMessage: async ({ message }) => {
      const { payload } = JSON.parse(message.value);
      const { content, author_id: author, channel_id: channel, created_at } = payload;
      const document = { content, author, channel, created_at };
      await search.index({ index: env.SEARCH_ALIAS, id: payload.message_id, document });
    },
  });
  endWith(() => consumer.disconnect());
  http.createServer((_request, response) => response.end("ok")).listen(Number(env.PORT), "127.0.0.1");
}

main();
