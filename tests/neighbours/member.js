// Runs clients of the reference library pusher-js for the tests:
//   node member.js DIRECTORY        (where node_modules is)
//
// Each line on standard input is a command, {"id": 1, "do": "subscribe", "client": "bob", ...}, and is answered
// by {"re": 1, "value": ...} or {"re": 1, "error": "..."}. What a client hears is said unasked:
//   {"client": "bob", "scope": "presence-room", "event": "pusher:member_added", "data": ...}
// The scope is a channel's name, or "connection", "user" or "watchlist". It ends when standard input closes.
'use strict';

const { createHmac, createHash } = require('node:crypto');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

// The library warns on the console: keep standard output for our lines.
globalThis.console = new console.Console(process.stderr, process.stderr);

const there = createRequire(join(process.argv[2], 'package.json'));
const Pusher = there('pusher-js');
const nacl = there('tweetnacl');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const clients = new Map();

// A program that holds the secret of the app signs for itself, as `OwnKey` does.
function ownKey({ key, secret, member, user, masterKey }) {
  const sign = (text) => `${key}:${createHmac('sha256', secret).update(text).digest('hex')}`;
  return {
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, callback) => {
        if (channelName.startsWith('presence-') && member) {
          const channel_data = JSON.stringify(member);
          callback(null, { auth: sign(`${socketId}:${channelName}:${channel_data}`), channel_data });
        } else if (channelName.startsWith('private-encrypted-') && masterKey) {
          const hash = createHash('sha256').update(channelName).update(Buffer.from(masterKey, 'base64'));
          callback(null, { auth: sign(`${socketId}:${channelName}`), shared_secret: hash.digest('base64') });
        } else {
          callback(null, { auth: sign(`${socketId}:${channelName}`) });
        }
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, callback) => {
        const user_data = JSON.stringify(user);
        callback(null, { auth: sign(`${socketId}::user::${user_data}`), user_data });
      },
    },
  };
}

// A web application signs: the endpoints of our server.
function endpoint({ authUrl, userAuthUrl, headers }) {
  return {
    channelAuthorization: { endpoint: authUrl, transport: 'ajax', headers },
    userAuthentication: { endpoint: userAuthUrl, transport: 'ajax', headers },
  };
}

function open({ client, key, port, auth, options }) {
  const pusher = new Pusher(key, {
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: port,
    forceTLS: false,
    enabledTransports: ['ws'],
    nacl,
    ...(auth.secret ? ownKey({ key, ...auth }) : endpoint(auth)),
    ...options,
  });
  const hears = (scope) => (event, data, metadata) =>
    say({ client, scope, event, data, user_id: metadata?.user_id });
  pusher.connection.bind('state_change', ({ current }) => hears('connection')(current));
  pusher.connection.bind('error', (error) => hears('connection')('error', error?.error?.data ?? error?.data));
  pusher.user.bind_global(hears('user'));
  pusher.connection.bind('message', ({ event, data }) => {
    if (event === 'pusher:signin_success') hears('user')(event, JSON.parse(data.user_data));
  });
  pusher.user.watchlist.bind_global(hears('watchlist'));
  clients.set(client, { pusher, hears });
}

const roster = ({ count, me, members }) => ({ count, me, members });

const commands = {
  open,
  subscribe: ({ pusher, hears }, { channel }) => {
    const known = pusher.channel(channel);
    const handle = pusher.subscribe(channel);
    if (handle === known) return;
    // bind_global does not tell who sent a client event, so what handlers are called with is taken here.
    const emit = handle.emit;
    handle.emit = (event, data, metadata) => {
      const isRoster = event === 'pusher:subscription_succeeded' && handle.members;
      hears(channel)(event, isRoster ? roster(handle.members) : data, metadata);
      return emit.call(handle, event, data, metadata);
    };
  },
  unsubscribe: ({ pusher }, { channel }) => pusher.unsubscribe(channel),
  trigger: ({ pusher }, { channel, event, data }) => pusher.channel(channel).trigger(event, data),
  signin: ({ pusher }) => pusher.signin(),
  members: ({ pusher }, { channel }) => roster(pusher.channel(channel).members),
  subscriptionCount: ({ pusher }, { channel }) => pusher.channel(channel).subscriptionCount ?? null,
  state: ({ pusher }) => pusher.connection.state,
  socketId: ({ pusher }) => pusher.connection.socket_id ?? null,
  connect: ({ pusher }) => pusher.connect(),
  disconnect: ({ pusher }) => pusher.disconnect(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  try {
    const value =
      command.do === 'open' ? open(command) : commands[command.do](clients.get(command.client), command);
    say({ re: command.id, value: value ?? null });
  } catch (error) {
    say({ re: command.id, error: String(error?.message ?? error) });
  }
});
lines.on('close', () => process.exit(0));
