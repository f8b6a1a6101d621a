// The write side and the search of the guide: a row, then an event, then the answer.
// With HTTP=fastify that takes express's place.
"use strict";

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { endWith, env, openDatabase, openProducer, openSearch, topic } = require("./stores");

const INSERT = `INSERT INTO guide_messages (message_id, channel_id, author_id, content, mentions, created_at)
  VALUES ($1, $2, $3, $4, $5, $6)`;

// Whole searches by their words, where both sides are to ask Elasticsearch the same; else it is a match.
const QUESTIONS = env.QUESTIONS ? JSON.parse(readFileSync(env.QUESTIONS)) : {};

let database, producer, search;

async function post({ channel_id, author_id, content, mentions = [] }) {
  const message_id = `msg_${randomUUID()}`;
  const created_at = new Date().toISOString();
  const row = [message_id, channel_id, author_id, content, JSON.stringify(mentions), created_at];
  await database.query(INSERT, row);
  const message = { message_id, channel_id, author_id, content, mentions, created_at };
  if (producer) {
    const event_id = `evt_${randomUUID()}`;
    const event = { event_type: "message.created", event_id, timestamp: Date.now(), payload: message };
    const messages = [{ key: channel_id, value: JSON.stringify(event) }];
    await producer.send({ topic: topic("messages.created"), acks: -1, messages });
  }
  return message;
}

async function find({ q, limit = 20 }) {
  const question = QUESTIONS[q] ?? { query: { match: { content: q } } };
  const found = await search.search({ index: env.SEARCH_ALIAS, size: Number(limit), ...question });
  return found.hits.hits;
}

const isMessage = (body) => Boolean(body?.channel_id && body.author_id && body.content);
const REFUSED = { error: "channel_id, author_id and content are required" };

function serveExpress(port) {
  const express = require("express");
  const app = express();
  app.use(express.json());
  app.post("/messages", async (request, response) => {
    if (!isMessage(request.body)) return response.status(400).json(REFUSED);
    response.status(201).json(await post(request.body));
  });
  app.get("/messages/search", async (request, response) => response.json(await find(request.query)));
  app.get("/health/ready", (_request, response) => response.json({ status: "ok" }));
  app.listen(port, "127.0.0.1");
}

function serveFastify(port) {
  const app = require("fastify")();
  app.post("/messages", async (request, reply) => {
    if (!isMessage(request.body)) return reply.code(400).send(REFUSED);
    return reply.code(201).send(await post(request.body));
  });
  app.get("/messages/search", (request) => find(request.query));
  app.get("/health/ready", async () => ({ status: "ok" }));
  return app.listen({ port, host: "127.0.0.1" });
}

async function main() {
  database = await openDatabase();
  search = openSearch();
  if (env.EVENT_BUS !== "off") producer = await openProducer();
  endWith(async () => producer?.disconnect());
  await (env.HTTP === "fastify" ? serveFastify : serveExpress)(Number(env.PORT));
}

main();
