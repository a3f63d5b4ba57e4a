// A program with pusher-js: it keeps the last price of each product, and shows whether it is connected.
import PusherModule from "pusher-js";

const Pusher = PusherModule.Pusher ?? PusherModule.default ?? PusherModule;

export class PriceBoard {
  constructor({ key, host, port, tls, authUrl }) {
    this.prices = new Map();
    this.pusher = new Pusher(key, {
      cluster: "mt1", // required; its value does not matter
      wsHost: host,
      wsPort: port,
      wssPort: port,
      forceTLS: tls,
      enabledTransports: ["ws", "wss"],
      channelAuthorization: { endpoint: authUrl },
    });
    this.channel = this.pusher.subscribe("private-prices");
    this.refusal = null; // the status of the auth endpoint that refused the channel
    this.channel.bind("pusher:subscription_error", ({ status }) => (this.refusal = status));
    this.channel.bind("price", ({ of, cents }) => this.prices.set(of, cents));
  }

  get online() {
    return this.pusher.connection.state === "connected";
  }

  ask(product) {
    return this.channel.trigger("client-ask", { of: product });
  }

  close() {
    this.pusher.disconnect();
  }
}
