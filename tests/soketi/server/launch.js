// Runs one Soketi for the tests:
//   node launch.js '{"apps": [...], "port": 0, "tls": {"cert": "...", "key": "..."}}'
//
// Apps are as in Soketi's own configuration. `port` (default 0: any free one) and `tls` may be absent.
// When the server is up, one line {"port": N} goes to standard output, all else to standard error.
// It ends when its standard input closes, so that it never outlives the tests, and on SIGTERM.
'use strict';

// Soketi and uWebSockets.js log to the console: keep standard output for the ready line.
globalThis.console = new console.Console(process.stderr, process.stderr);
process.env.FORCE_COLOR = '0';

const { Server } = require('@soketi/soketi');
const uWS = require('uWebSockets.js');

// Its package falls back to a server on which WebSockets never open, and says so only in the log.
if (!Object.keys(require.cache).some((file) => /binaries[\\/]uws_[^\\/]*\.node$/.test(file))) {
  console.error('the binary of uWebSockets.js did not load, so WebSockets would never open');
  process.exit(1);
}

// Should an orderly end hang, with the tests already gone, nobody else is left to end this process.
const LONGEST_END = 2000;

const config = JSON.parse(process.argv[2]);
const server = new Server({
  host: '127.0.0.1',
  port: config.port ?? 0,
  'metrics.enabled': false,
  'metrics.host': '127.0.0.1',
  'metrics.port': 0,
  shutdownGracePeriod: 0,
  'appManager.array.apps': config.apps,
  ...(config.tls && { 'ssl.certPath': config.tls.cert, 'ssl.keyPath': config.tls.key }),
});
// Discovery of other servers opens a UDP socket and broadcasts.
server.configureDiscovery = () => Promise.resolve();

let ending = false;
function end(code) {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(code), LONGEST_END);
  Promise.resolve()
    .then(() => server.stop())
    .catch((error) => console.error(error))
    .finally(() => process.exit(code));
}

process.stdin.on('end', () => end(0));
process.stdin.resume();
process.on('SIGTERM', () => end(0));
// As Soketi's own command does: an error of the server says 4200 to everyone before it ends.
process.on('uncaughtException', (error) => {
  console.error(error);
  end(1);
});

server.start(() => {
  if (!server.serverProcess) {
    console.error(`cannot listen on port ${config.port ?? 0}`);
    process.exit(1);
  }
  const port = uWS.us_socket_local_port(server.serverProcess);
  process.stdout.write(JSON.stringify({ port }) + '\n');
});
