// The least that a fan-out costs with `ws`: each line that comes is sent to every socket, as one frame.
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket) => socket.send('{"type":"hello"}'));
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  for (const socket of server.clients) socket.send(line);
});
