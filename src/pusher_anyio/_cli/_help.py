"""The words of the help that every command shares: the exit statuses, and the examples of each command."""

from __future__ import annotations

__all__ = ["EXAMPLES", "SHELLS", "STATUSES"]

STATUSES = """\
exit status:
  0  done: --count events came, the event was sent, nothing is wrong, or Ctrl+C or SIGTERM ended
     listen, who, serve, demo --keep
  1  something else went wrong, such as a port that is taken or, in doctor, a server that is not reached
  2  the arguments are wrong
  3  the server refused the app (its key, its path, or our trust in its certificate)
  4  a channel was refused
  5  timed out
  130  Ctrl+C before it was done
"""

SHELLS = ("bash", "zsh", "fish", "tcsh")
"""The shells that `completion` has something for."""

_HERE = "--host 127.0.0.1 --port 6001 --no-tls --key demo"
_ENDPOINT = """--auth-url https://example.com/broadcasting/auth \\
      --header 'Authorization: Bearer TOKEN'"""

EXAMPLES = {
    "demo": ["demo", "demo --keep"],
    "serve": [
        "serve --port 6001",
        "serve --port 6001 --app 1:demo:demo-secret --user ann-token=7:Ann",
        "serve --host 0.0.0.0 --port 6001 --tls-cert cert.pem --tls-key key.pem --env-file .env.pusher",
        "serve --config server.toml --strict --log json --control",
    ],
    "listen": [
        f"listen {_HERE} room",
        "listen --cluster eu --key KEY --secret SECRET --count 1 private-orders",
        "listen --env --event price --json prices | jq .data",
        f"listen --cluster eu --key KEY {_ENDPOINT} private-orders",
    ],
    "trigger": [
        """trigger --env private-orders client-note '{"text": "hello"}'""",
        f"""trigger {_HERE} --secret demo-secret private-room client-hello '"hello"'""",
    ],
    "who": [
        "who --env presence-room",
        "who --cluster eu --key KEY --secret SECRET --once --json presence-room",
    ],
    "doctor": [
        "doctor --cluster eu --key KEY prices",
        f"doctor --env {_ENDPOINT} private-orders",
        "doctor --url wss://example.com/app/KEY --json",
    ],
    "replay": ["replay recording.jsonl"],
    "completion": [
        "completion bash > ~/.local/share/bash-completion/completions/pusher-proto",
        'completion zsh > "${fpath[1]}/_pusher-proto"',
        "completion fish > ~/.config/fish/completions/pusher-proto.fish",
    ],
}
"""The examples of each command; the overview shows the first of each."""
