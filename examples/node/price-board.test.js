// node --test
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, test } from "node:test";

import PusherBackEnd from "pusher";

import { PriceBoard } from "./price-board.js";
import { startServer } from "./server.js";

let hooks, received, server, board;

before(async () => {
  received = [];
  hooks = createServer(async (request, response) => {
    let rawBody = "";
    for await (const piece of request) rawBody += piece;
    received.push({ headers: request.headers, rawBody });
    response.end();
  }).listen(0, "127.0.0.1");
  await once(hooks, "listening");
  server = await startServer("--webhook", `http://127.0.0.1:${hooks.address().port}/`);
});

after(async () => {
  await server.stop();
  hooks.close();
});

beforeEach(async () => {
  await server.post("reset", { drop: true });
  const { host, port, scheme, urls } = server.ready;
  const tls = scheme === "https";
  board = new PriceBoard({ key: server.app.key, host, port, tls, authUrl: urls.auth });
  await subscribed();
});

afterEach(() => board.close());

const subscribed = () => server.until("channels", (channels) => channels["private-prices"]);

async function eventually(look) {
  const end = Date.now() + 5000;
  while (!look()) {
    assert.ok(Date.now() < end, `not within 5 s: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const publish = (of, cents) =>
  server.post("publish", { channels: "private-prices", event: "price", data: { of, cents } });

test("a price that is published is on the board", async () => {
  assert.deepEqual(await publish("tea", 250), { sockets: 1 });
  await eventually(() => board.prices.get("tea") === 250);
});

test("the board is back after the server has closed its connection", async () => {
  await server.post("drop", { code: 4200, reason: "Server is restarting" });
  await eventually(() => board.online);
  await subscribed();
  await publish("tea", 260);
  await eventually(() => board.prices.get("tea") === 260);
});

test("the board knows when the auth endpoint refuses it", async () => {
  await server.post("auth_answer", { status: 403, body: "no", times: 1 });
  await server.post("drop", { code: 4200 });
  await eventually(() => board.refusal === 403);
  assert.deepEqual(await publish("tea", 270), { sockets: 0 });
});

test("what the board sends can be seen", async () => {
  assert.ok(board.ask("tea"));
  const asked = await server.until("received", (messages) =>
    messages.find((message) => message.event === "client-ask"),
  );
  assert.deepEqual(asked.data, { of: "tea" });
});

test("a command that is wrong says why", async () => {
  await assert.rejects(server.post("drop", { code: 7 }), /a close code is between 1000 and 4999, not 7/);
  await assert.rejects(server.post("fly"), /No command 'fly': there are publish, /);
});

test("the official library takes the webhooks", async () => {
  const { id, key, secret } = server.app;
  const backEnd = new PusherBackEnd({ appId: id, key, secret, host: "127.0.0.1", useTLS: false });
  received.length = 0;
  board.channel.unsubscribe();
  await eventually(() => received.some(({ rawBody }) => rawBody.includes("channel_vacated")));
  const last = received.at(-1);
  const hook = backEnd.webhook(last);
  assert.ok(hook.isValid());
  assert.deepEqual(hook.getEvents().at(-1), { name: "channel_vacated", channel: "private-prices" });
  assert.ok(!backEnd.webhook({ ...last, rawBody: last.rawBody + " " }).isValid());
});
