// The clients of the three stores, as a process of the guide makes them once.
// All addresses come from the environment.
"use strict";

const { Client } = require("@elastic/elasticsearch");
const { Kafka, Partitioners, logLevel } = require("kafkajs");
const { Pool } = require("pg");

const env = process.env;
const brokers = (env.KAFKA_BROKERS ?? "").split(",");
const kafka = new Kafka({ clientId: "node-reference", brokers, logLevel: logLevel.ERROR });

const TABLE = `CREATE TABLE IF NOT EXISTS guide_messages (
  message_id text PRIMARY KEY, channel_id text NOT NULL, author_id text NOT NULL,
  content text NOT NULL, mentions jsonb NOT NULL, created_at timestamptz NOT NULL)`;

/** Returns a pool of connections to a database that has the table. */
async function openDatabase() {
  const pool = new Pool({ connectionString: env.DATABASE_URL, max: Number(env.POOL_SIZE ?? 20) });
  await pool.query(TABLE);
  return pool;
}

async function openProducer() {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  return producer;
}

/** Reads a topic from its beginning, in the group of GROUP_ID; resolves once that has been joined. */
async function consume(topicName, handlers, joined = () => {}) {
  const consumer = kafka.consumer({ groupId: env.GROUP_ID });
  await consumer.connect();
  await consumer.subscribe({ topic: topic(topicName), fromBeginning: true });
  const member = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.run(handlers);
  await member;
  joined();
  return consumer;
}

const openSearch = () => new Client({ node: env.ELASTICSEARCH_URL });
const topic = (name) => `${env.TOPIC_PREFIX}.${name}`;

/** Ends the process when it is asked to, after `close`. */
function endWith(close) {
  process.on("SIGTERM", () => close().finally(() => process.exit(0)));
}

module.exports = { consume, endWith, env, kafka, openDatabase, openProducer, openSearch, topic };
