// Many connections of pusher-js. Prints "ready" when all are subscribed, and for each event the time (in ns) at which
// the last connection received it.
const Pusher = require("pusher-js");
const config = JSON.parse(process.argv[2]);

let subscribed = 0;
const received = new Map();

for (let number = 0; number < config.connections; number++) {
  const pusher = new Pusher(config.key, {
    cluster: "mt1",
    wsHost: "127.0.0.1",
    wsPort: config.port,
    forceTLS: false,
    enabledTransports: ["ws"],
  });
  const channel = pusher.subscribe("room");
  channel.bind("pusher:subscription_succeeded", () => {
    if (++subscribed === config.connections) console.log("ready");
  });
  channel.bind("event", ({ number }) => {
    const count = (received.get(number) ?? 0) + 1;
    received.set(number, count);
    if (count === config.connections) console.log(String(process.hrtime.bigint()));
  });
}
