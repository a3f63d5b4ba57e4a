// Runs one snippet of snippets/pusher-js.md on pusher-js: node run.js DIRECTORY PORT AUTH_URL USER_URL
//
// The snippet is the first line on standard input, as JSON. Each line on standard output is a list: ["say", ...] adds to
// the transcript, ["do", number, name, [arguments]] calls a method of the server, which is answered by
// {"re": number, "value": ...}, and ["end", null] or ["end", "error"] is the last one.
'use strict';

const { createHmac } = require('node:crypto');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

const [directory, port, authUrl, userUrl] = process.argv.slice(2);
const there = createRequire(join(directory, 'package.json'));
const logged = [];
// pusher-js logs by the console's methods: keep standard output for our lines.
const output = process.stdout.write.bind(process.stdout);
globalThis.console = { log: (...line) => logged.push(line.join(' ')) };
for (const name of ['warn', 'error', 'debug', 'info']) console[name] = console.log;
const RealPusher = there('pusher-js');
const nacl = there('tweetnacl');

const emit = (line) => output(JSON.stringify(line) + '\n');
const say = (...what) => emit(['say', ...what]);
const answers = new Map();
let number = 0;

const server = new Proxy({}, {
  get: (_, name) => (...given) => new Promise((resolve) => {
    answers.set(++number, resolve);
    emit(['do', number, name, given]);
  }),
});

async function until(look) {
  for (let left = 2000; left > 0; left--) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`waited in vain for ${look}`);
}

const key = 'demo', secret = 'demo-secret', cluster = 'mt1';
const sign = (text) => `${key}:${createHmac('sha256', secret).update(text).digest('hex')}`;
const here = {
  wsHost: '127.0.0.1',
  wsPort: Number(port),
  forceTLS: false,
  enabledTransports: ['ws'],
  channelAuthorization: { endpoint: authUrl, transport: 'ajax' },
  userAuthentication: { endpoint: userUrl, transport: 'ajax' },
};

const names = { Pusher: RealPusher, nacl, say, server, until, key, secret, cluster, sign, here, authUrl, userUrl, logged };
names.port = Number(port);

async function run(code) {
  const own = code.includes('new Pusher(') ? '' : 'const pusher = new Pusher(key, { cluster, ...here });\n';
  const AsyncFunction = (async () => {}).constructor;
  await new AsyncFunction(...Object.keys(names), own + code)(...Object.values(names));
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (typeof message === 'string') {
    run(message).then(() => null, (error) => String(error?.stack ?? error)).then((error) => {
      emit(['end', error]);
    });
  } else {
    answers.get(message.re)(message.value);
  }
}).on('close', () => process.exit(0));
