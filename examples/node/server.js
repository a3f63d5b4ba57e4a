// The development server for a test suite: started once, steered through its control API.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export async function startServer(...flags) {
  const command = (process.env.PUSHER_PROTO ?? "pusher-proto").split(" ");
  const child = spawn(command[0], [...command.slice(1), "serve", "--control", ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return new Server(child, JSON.parse(line));
}

export class Server {
  constructor(child, ready) {
    this.child = child;
    this.ready = ready;
    this.app = ready.apps[0];
  }

  // Carry out a command, such as post("drop", {code: 4200}).
  async post(name, body = {}) {
    return this.#call(name, { method: "POST", body: JSON.stringify(body) });
  }

  // Look, such as get("received").
  async get(name) {
    return this.#call(name, {});
  }

  // Wait until a look at the server is true, and return it.
  async until(name, look, seconds = 5) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const seen = await this.get(name);
      const found = look(seen);
      if (found) return found;
      if (Date.now() > end) throw new Error(`${name} is ${JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop() {
    this.child.kill("SIGTERM");
    await once(this.child, "exit");
  }

  async #call(name, options) {
    const answer = await fetch(`${this.ready.urls.control}/${name}`, options);
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    return value;
  }
}
