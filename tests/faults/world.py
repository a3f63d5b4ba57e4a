"""Faults from public bug reports of Pusher clients, WebSocket libraries, servers and proxies, and this client's answers.

Each row is shown by tests with its id in the name (`test_W1_...`), anywhere in `tests`.
"""

# ruff: noqa: E501 - a row of the table is one line

from __future__ import annotations

__all__ = ["WORLD"]

WORLD = {
    1: (
        "A reverse proxy answers 4xx during a deploy",
        "A client that was connected keeps trying, at most `retry_cap` apart; a client that was never connected makes three attempts.",
    ),
    2: (
        "The certificate has expired, or is not yet valid by a wrong clock",
        "Attempts continue slowly (not yet valid: from the start), and the error says to check the clock.",
    ),
    3: (
        "The certificate is wrong for some minutes: a captive portal, a missing intermediate",
        "Nothing is sent; a client that was connected tries again slowly.",
    ),
    4: (
        "The server closes with 4009 because no authorization came in time",
        "Attempts continue while an authorization is pending or fails temporarily, and slowly after a good connection; the hint names the app's setting.",
    ),
    5: (
        "The auth endpoint answers 403, 404, 419, a redirect or a page for a while",
        "A channel that was subscribed is tried again after 1, 5, 15 and 60 minutes.",
    ),
    6: (
        "The server does not answer a subscribe, or refuses it temporarily",
        "The subscribe is sent again after a growing delay.",
    ),
    7: (
        "A loop iterates a channel that is refused from the start",
        "The loop raises the refusal; it continues while another attempt is planned.",
    ),
    8: (
        "A wait meets a temporary failure",
        "It continues while another attempt is planned and its timeout allows.",
    ),
    9: (
        "No thread can be started, no file opened",
        "The attempt has failed and is tried again.",
    ),
    10: (
        "A server drops connections that only receive",
        "With `Options.ping_interval` the client pings even while it receives data.",
    ),
    11: (
        "`connect=` raises an exception other than OSError",
        "The attempt has failed and is tried again.",
    ),
    12: (
        "A handler connects at each loss",
        "One delay is skipped; then attempts are at least a second apart, and the delays continue to grow.",
    ),
    13: (
        "The client is closed while it dials",
        "Dialling is cancelled at once.",
    ),
    14: (
        "TLS fails at its first step",
        "The attempt fails at once, with the reason.",
    ),
    15: (
        "close_notify arrives with data, and TCP stays open",
        "The end is noticed at once.",
    ),
    16: (
        "No certificate authority is installed, or Python verifies certificates strictly",
        "The error says which of the two, and what to do.",
    ),
    17: (
        "The async client is called from another thread",
        "The call raises at once and names what to call instead.",
    ),
    18: (
        "A host has letters beyond ASCII",
        "It is encoded by IDNA 2008; a host that IDNA refuses is an error.",
    ),
    19: (
        "A host ends in a dot",
        "The dot is used for the name lookup only.",
    ),
    20: (
        "A header contradicts the body of an auth request, or is given twice",
        "ValueError when the endpoint is made.",
    ),
    21: (
        "The endpoint answers with something that is not `KEY:SIGNATURE`",
        "It is not sent; the error describes the answer.",
    ),
    22: (
        "The endpoint's JSON is wrapped, quoted, cut or has text around it",
        "A string is unwrapped once; otherwise the error shows the answer's start.",
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
        "The error names the variable and the likely cause.",
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
        "A warning names it once, after it has blocked other consumers for 10 s.",
    ),
    30: (
        "`run()` returns after a handler ended the client",
        "It raises the exception of the handler.",
    ),
    31: (
        "A proxy asks for NTLM; `Upgrade` is sent twice; an answer is cut short",
        "The error names each.",
    ),
    32: (
        "Attempts are used up or disabled, and no server was reached",
        "The error names host, port and failure, and does not speak of a refusal.",
    ),
    33: (
        "An event of a channel arrives before its consumer",
        "It is kept until the first consumer takes it.",
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
        "The application's authorizer meets a temporary failure",
        "It is called again; the errors of common HTTP clients are recognized.",
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
        "A name is bound that no event can have",
        "ValueError with the right name.",
    ),
    41: (
        "A call has its arguments swapped, or a function is bound twice",
        "TypeError; a warning that names the handler.",
    ),
    42: (
        "The test server is closed while a client connects, or a path is wrong",
        "No error is logged; the answer is 404.",
    ),
}
