// pusher-js on Node, with its own copy of the measurements of meter.py.
const net = require("net");
const fs = require("fs");
const Pusher = require("pusher-js");

const config = JSON.parse(process.argv[2]);
const { kind, connections, warm, events } = config;
const prefix = config.scope === "public" ? "" : `${config.scope}-`;
const channels = [...Array(config.channels).keys()].map((n) => `${prefix}bench-${String(n).padStart(5, "0")}`);
const FIRST_ID = 1000000;

const orders = net.connect(config.orders, "127.0.0.1");
orders.setNoDelay(true);

function used() {
  const usage = process.cpuUsage();
  return (usage.user + usage.system) / 1e6;
}
const clock = () => Number(process.hrtime.bigint());
const resident = () => Number(fs.readFileSync("/proc/self/statm", "utf8").split(" ")[1]) * 4096;

function finish(result) {
  fs.writeSync(1, JSON.stringify(result) + "\n");
  orders.write("done\n", () => process.exit(0));
}

let count = 0, next = warm, cpu = 0, began = 0, latencies = [], confirmed = 0, rosterTook = null;

function mark(data) {
  if (kind === "stream" && connections === 1 && channels.length === 1) {
    const expected = FIRST_ID + ((count - 1) % config.block);
    if (data[0].id !== expected) throw new Error(`event ${count} is ${data[0].id}, not ${expected}`);
  }
  if (count === warm) {
    next = warm + events;
    latencies = [];
    cpu = used();
    began = clock();
    orders.write(`go ${events}\n`);
    return;
  }
  const result = { cpu: ((used() - cpu) / events) * 1e6, wall: (clock() - began) / events / 1e3 };
  if (latencies.length) {
    latencies.sort((a, b) => a - b);
    for (const p of [50, 90, 99]) result[`p${p}`] = latencies[Math.floor((latencies.length * p) / 100)] / 1e3;
  }
  finish(result);
}

function onEvent(data) {
  if (kind === "pace") latencies.push(clock() - data.at);
  count += 1;
  if (count === next) mark(data);
}

function connect() {
  const options = {
    cluster: "x", wsHost: config.tls ? "localhost" : "127.0.0.1", wsPort: config.port, wssPort: config.port,
    forceTLS: Boolean(config.tls), enabledTransports: ["ws", "wss"], enableStats: false,
    activityTimeout: 120000,
    channelAuthorization: config.kind === "reconnect"
      ? { endpoint: `http://127.0.0.1:${config.port}/auth`, transport: "ajax" }
      : { customHandler: (params, done) => done(null, {
          auth: "bench-key:0", channel_data: '{"user_id":"user-1"}', shared_secret: config.shared_secret }) },
  };
  return new Promise((resolve) => {
    const pusher = new Pusher("bench-key", options);
    pusher.connection.bind("connected", () => resolve(pusher));
  });
}

function subscribe(pusher) {
  for (const name of channels) {
    const channel = pusher.subscribe(name);
    channel.bind("price", onEvent);
    if (kind === "subscribe") {
      channel.bind("pusher:subscription_succeeded", () => {
        confirmed += 1;
        if (confirmed === channels.length) finish({ cpu: (used() - cpu) * 1e3, wall: (clock() - began) / 1e6 });
      });
    } else if (kind === "roster") {
      channel.bind("pusher:subscription_succeeded", (members) => {
        if (members.count !== config.members) throw new Error(`${members.count} members`);
        rosterTook = { cpu: (used() - cpu) * 1e3, wall: (clock() - began) / 1e6 };
        cpu = used();
        orders.write(`go ${events}\n`);
      });
      const member = () => {
        count += 1;
        if (count === events) finish({ ...rosterTook, change: ((used() - cpu) / events) * 1e6 });
      };
      channel.bind("pusher:member_added", member);
      channel.bind("pusher:member_removed", member);
    }
  }
}

async function main() {
  await new Promise((resolve) => orders.once("connect", resolve));
  const pushers = [await connect()];
  if (kind === "idle" && global.gc) global.gc();
  const before = resident();
  cpu = used();
  for (let n = 1; n < connections; n += 1) pushers.push(await connect());
  const opened = used() - cpu;
  cpu = used();
  began = clock();
  pushers.forEach(subscribe);
  if (kind === "idle") {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (global.gc) global.gc();
    const memory = (resident() - before) / (connections - 1) / 1024;
    cpu = used();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const each = connections - 1;
    finish({ memory, cpu: ((used() - cpu) / each / 3) * 1e6, opening: (opened / each) * 1e3 });
    return;
  }
  if (kind === "stream" || kind === "pace") orders.write(`go ${warm}\n`);
}

main();
