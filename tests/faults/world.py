"""What public bug reports of Pusher clients, WebSocket libraries, servers and proxies tell, and what this client does.

Each row is shown by tests with its id in the name (`test_W1_...`), anywhere in `tests`.
"""

# ruff: noqa: E501 - a row of the table is one line

from __future__ import annotations

__all__ = ["WORLD"]

WORLD = {
    1: (
        "A reverse proxy answers 4xx during a deploy",
        "A client that was connected goes on trying, `retry_cap` apart at most; the first attempts of all are three.",
    ),
    2: (
        "The certificate has expired, or is not valid yet by a clock that is wrong",
        "Attempts go on slowly (not yet valid: from the start), and the error asks for the clock.",
    ),
    3: (
        "Another certificate is shown for minutes: a captive portal, a missing intermediate",
        "Nothing is sent; a client that was connected tries again slowly.",
    ),
    4: (
        "The server closes with 4009 because no authorization came in time",
        "Attempts go on while one is pending or fails for now, and slowly when the connection was good; the hint says what the app wants.",
    ),
    5: (
        "The auth endpoint answers 403, 404, 419, a redirect or a page for a while",
        "A channel that was subscribed is asked for again after 1, 5, 15 and 60 minutes.",
    ),
    6: (
        "The server leaves a subscribe unanswered, or refuses it for now",
        "It is asked again after a delay that grows.",
    ),
    7: (
        "A loop iterates a channel that is refused from the start",
        "The loop raises the refusal; it goes on while another try is planned.",
    ),
    8: (
        "A wait meets a failure that passes",
        "It waits as long as another try is planned and its timeout allows.",
    ),
    9: (
        "No thread can be started, no file opened",
        "The attempt has failed and is tried again.",
    ),
    10: (
        "A server drops connections that only receive",
        "`Options.ping_interval` pings whatever is received.",
    ),
    11: (
        "`connect=` raises what is no OSError",
        "The attempt has failed and is tried again.",
    ),
    12: (
        "A handler connects at each loss",
        "One delay is skipped; then attempts keep a second apart, and the delays go on growing.",
    ),
    13: (
        "The client is left while it dials",
        "The dial is given up at once.",
    ),
    14: (
        "TLS fails at its first step",
        "The attempt fails at once, with the reason.",
    ),
    15: (
        "close_notify comes with data, and TCP stays open",
        "The end is noticed at once.",
    ),
    16: (
        "No certificate authority is installed, or Python verifies strictly",
        "The error says which, and what to do.",
    ),
    17: (
        "The async client is called from another thread",
        "The call raises at once and names what to call instead.",
    ),
    18: (
        "A host has letters beyond ASCII",
        "It is encoded by IDNA 2008; what that refuses is refused.",
    ),
    19: (
        "A host ends in a dot",
        "The dot serves the name lookup alone.",
    ),
    20: (
        "A header contradicts the body of an auth request, or is given twice",
        "ValueError when the endpoint is made.",
    ),
    21: (
        "The endpoint answers with something that is not `KEY:SIGNATURE`",
        "It is not sent; the error names its shape.",
    ),
    22: (
        "The endpoint's JSON is wrapped, quoted, cut or has text around it",
        "A string is unwrapped once; else the error names what is there.",
    ),
    23: (
        "The application rotates cookies",
        "`parse` gets status, headers and body of the answer.",
    ),
    24: (
        "A token or a secret ends in a newline",
        "ValueError when it is set.",
    ),
    25: (
        "Values of an `.env` are quoted, unexpanded or of another kind",
        "Refused by the name of the variable, with the likely cause.",
    ),
    26: (
        "Socket ids are UUIDs",
        "They are signed.",
    ),
    27: (
        "A client event is sent over a dead link",
        "It is lost; [reconnecting](reconnecting.md) says for how long that may go unnoticed.",
    ),
    28: (
        "The program is frozen into one file",
        "It starts: PyNaCl is imported with the first encrypted channel.",
    ),
    29: (
        "A stream is kept and not read",
        "One warning names it after 10 s of holding up others.",
    ),
    30: (
        "`run()` returns after a handler ended the client",
        "It raises what the handler raised.",
    ),
    31: (
        "A proxy wants NTLM; `Upgrade` is given twice; an answer is cut short",
        "Each is named.",
    ),
    32: (
        "Attempts are used up, or were not wanted, and no server was reached",
        "The error names host, port and what went wrong, not a refusal.",
    ),
    33: (
        "An event of a channel comes before its consumer",
        "It is kept until the first consumer asks for it.",
    ),
    34: (
        "The event loop ends while a handler waits",
        "Nothing is logged.",
    ),
    35: (
        "A command is given in a callback of the event loop",
        "It works.",
    ),
    36: (
        "A signal handler ends the blocking client",
        "`stop()` returns at once, and the client closes.",
    ),
    37: (
        "The application's authorizer meets a failure that passes",
        "It is called again; the errors of HTTP clients are known.",
    ),
    38: (
        "A loss is noticed late",
        "`offline_for` counts from the last byte that was received.",
    ),
    39: (
        "A token or `refresh` is a coroutine function",
        "It is awaited; in blocking code TypeError.",
    ),
    40: (
        "A name is bound that can never come",
        "ValueError with the right name.",
    ),
    41: (
        "A call has its arguments mixed up, or a function is bound twice",
        "TypeError; a warning that names the handler.",
    ),
    42: (
        "The test server is left while a client connects, or a path is wrong",
        "Silence; 404.",
    ),
}
