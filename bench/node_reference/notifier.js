// The notifier of the guide: an event that mentions users is a frame at each of their sockets.
"use strict";

const http = require("node:http");
const { WebSocketServer } = require("ws");
const { consume, endWith, env } = require("./stores");

const socketsOf = new Map();

function connected(socket, request) {
  const user = new URL(request.url, "http://localhost").searchParams.get("user_id");
  if (!socketsOf.has(user)) socketsOf.set(user, new Set());
  socketsOf.get(user).add(socket);
  socket.on("close", () => socketsOf.get(user).delete(socket));
  socket.send(JSON.stringify({ type: "hello", user_id: user }));
}

function notify({ message_id, channel_id, content, mentions }) {
  for (const user_id of mentions ?? []) {
    const data = { message_id, channel_id };
    const notification = { user_id, reason: "mention", title: "새 멘션", body: content, data };
    const frame = JSON.stringify({ type: "notification", notification });
    for (const socket of socketsOf.get(user_id) ?? []) socket.send(frame);
  }
}

async function main() {
  const consumer = await consume("messages.created", {
    eachMessage: async ({ message }) => notify(JSON.parse(message.value).payload),
  });
  endWith(() => consumer.disconnect());
  const server = http.createServer((_request, response) => response.end("ok"));
  new WebSocketServer({ server, path: "/ws", perMessageDeflate: false }).on("connection", connected);
  server.listen(Number(env.PORT), "127.0.0.1");
}

main();
