"""Records the inputs of a session as JSON lines, and replays them, for example as a test.

`recording_session` returns a session that writes each input with its time before processing it; `replay` passes such
lines to a new session. The core depends on its inputs only, so the effects and events are the same.

Secrets are masked: keys and tokens in the options; signatures, keys and user data except ids in authorizations of the
application (so a replay cannot decrypt messages of encrypted channels). The bytes from a server or an auth endpoint are
written unchanged, in base64 (whole messages as text), because the replay needs them: they contain the application's
messages, signatures for connections that have ended, and keys of encrypted channels that an endpoint returned. Events
that the application fetched to catch up are written, too. Of its functions that an input calls directly, only the
outcome is written, after the input: which events were new by their `key`, and the times of `wall_clock`.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import inspect
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ._base.checks import is_number
from ._base.logs import logger
from ._base.secret import Secret
from ._version import __version__
from ._wire.envelope import encode
from .auth import AuthEndpoint, AuthResponse, OwnKey
from .effects import Effect
from .errors import ConnectionEnded, LocalProtocolError, PusherError, describe
from .events import ChannelEvent, Event
from .gaps import CatchUp
from .options import Options
from .outbox import Outbox
from .session import Session

__all__ = ["INPUTS", "LIMIT", "RecordingSession", "recording_session", "replay"]

INPUTS = (
    "connect",
    "disconnect",
    "reconnect",
    "close",
    "subscribe",
    "unsubscribe",
    "refresh_members",
    "trigger",
    "send_event",
    "signin",
    "signout",
    "ping",
    "transport_opened",
    "tls_started",
    "transport_failed",
    "transport_closed",
    "receive_data",
    "receive_message",
    "data_sent",
    "authorized",
    "authorization_failed",
    "call_ended",
    "handle_timeout",
    "hold",
)
"""The inputs of a session: all methods that change it, except `next_event` and `took`."""

LIMIT = 64 * 1024 * 1024
"""The limit for a recording, in bytes. It ends there with a line that marks it as truncated."""

_log = logger("session")

_MASK = "***"
_NO_KEY = base64.b64encode(bytes(32)).decode()
_LOGIN = re.compile(r"(?<=//)[^/]*@")
_NOT_KEPT = ("auth", "headers", "query", "resolve_url", "decrypted_text", "origin", "proxy")


_LETTERS = {(True, True): "n", (True, False): "w", (False, False): "d", (False, True): "l"}
"""Letters for the result of `CatchUp.is_new` for an event, and whether the event became the last one of its channel."""
_OUTCOMES = {letter: outcome for outcome, letter in _LETTERS.items()} | {"r": None}
"""Their meaning; None: the key function raised an exception."""


class RecordingSession(Session):
    """A session that records its inputs, returned by `recording_session`."""

    def __init__(
        self,
        options: Options,
        write: Callable[[str], object],
        seed: int,
        limit: int,
        *,
        wall_clock: Callable[[], float] | None = None,
        **settings: bool,
    ) -> None:
        rng = random.Random(seed)  # noqa: S311 - jitter, not cryptography
        clock = None if wall_clock is None else functools.partial(self._time_of, wall_clock)
        super().__init__(options, rng=rng, wall_clock=clock, **settings)
        self._catch_ups.is_new = self._is_new
        self._keys: list[str] = []
        self._times: list[float] = []
        self._memories: dict[CatchUp, int] = {}
        """The numbers of the `CatchUp` objects: one that is given again continues."""
        self._write = write
        self._room = limit
        self._pulled = 0
        self._pulled_at: float | None = None
        kept = {"seed": seed, **settings, "options": _options(options)}
        self._note({"pusher_proto": __version__, **kept})

    def next_event(self, *, now: float | None = None) -> Event | None:
        """Return the next event, and store the time, up to which a pause of reading is measured."""
        self._pulled_at = self._pulled_at if now is None else now
        return super().next_event(now=now)

    def took(self, count: int, size: int | None = None) -> None:
        """Count the taken events: they decide when reading resumes."""
        self._pulled += count
        super().took(count, size)

    def _record(
        self, name: str, args: tuple[Any, ...], more: Mapping[str, Any], now: float
    ) -> None:
        if self.closed:
            return  # the input has no effect, and the file may be closed
        line: dict[str, Any] = {"now": now, "input": name}
        if self._pulled:
            line["pulled"], self._pulled = self._pulled, 0
            if self._pulled_at is not None:
                line["pulled_at"], self._pulled_at = self._pulled_at, None
        if args:
            line["args"] = [_plain(value) for value in args]
            if name == "call_ended":  # headers, parameters and tokens
                line["args"][1] = _shape_of(args[1])
        if more.get("auth") is not None:
            line["auth"] = _auth(more["auth"])
        if more.get("catch_up") is not None:
            key = more["catch_up"].key
            line["catch_up"] = key if isinstance(key, str) else None
            line["memory"] = self._memories.setdefault(more["catch_up"], len(self._memories))
        self._note(line)

    def _is_new(self, memory: CatchUp, event: ChannelEvent, window: int) -> bool:
        """Call `CatchUp.is_new`, and store the outcome, which is written after the input."""
        letter = "r"
        try:
            new = memory.is_new(event, window)
            letter = _LETTERS[new, memory.last is event]
        finally:
            self._keys.append(letter)
        return new

    def _time_of(self, wall_clock: Callable[[], float]) -> float:
        now = wall_clock()
        self._times.append(now)
        return now

    def _record_outcomes(self) -> None:
        """Write the outcomes of the application's functions that the last input called."""
        line: dict[str, Any] = {}
        if self._keys:
            line["keys"], self._keys = "".join(self._keys), []
        if self._times:
            line["times"], self._times = self._times, []
        if line:
            self._note(line)

    def _note(self, line: Mapping[str, Any]) -> None:
        if self._room <= 0:
            return
        text = msgspec.json.encode(line).decode()
        self._room -= len(text)
        try:
            self._write(text + "\n")
            if self._room <= 0:
                self._write('{"truncated":true}\n')
        except (OSError, ValueError) as error:  # a full disk, or a closed file
            self._room = 0
            _log.warning("the recording ends here, as it cannot be written: %s", describe(error))


def _recorded(name: str) -> Callable[..., None]:
    """Return the input `name` of a session as a method that records the call first."""
    original: Callable[..., None] = getattr(Session, name)

    @functools.wraps(original)
    def method(self: RecordingSession, *args: Any, now: float, **more: Any) -> None:
        self._record(name, args, more, now)
        try:
            original(self, *args, now=now, **more)
        finally:
            self._record_outcomes()

    return method


for _name in INPUTS:
    setattr(RecordingSession, _name, _recorded(_name))


def recording_session(
    options: Options,
    write: Callable[[str], object],
    *,
    limit: int = LIMIT,
    authorize_many: bool = False,
    messages: bool = False,
    wall_clock: Callable[[], float] | None = None,
) -> Session:
    """Return a session that calls `write` with a line of JSON for each input, until `limit` bytes are written."""
    seed = random.Random().getrandbits(64)  # noqa: S311 - the recording contains it
    settings = {"authorize_many": authorize_many, "messages": messages}
    return RecordingSession(options, write, seed, limit, wall_clock=wall_clock, **settings)


def replay(lines: Iterable[str]) -> Iterator[Effect | Event | tuple[float, str]]:
    """Replay recorded lines; yield each input as (time, name), and the effects and events that follow from it.

    Raises ValueError if the file is not a recording.
    """
    session: _ReplayedSession | None = None
    for line in _with_outcomes(lines):
        if session is None:
            session = _begun(line)
            continue
        if "truncated" in line:
            break
        name, now, args, more = _input(session, line)
        session.use_outcomes(line)
        for _ in range(line.get("pulled", 0)):
            event = session.next_event(now=line.get("pulled_at"))
            if event is not None:
                yield event
        yield now, name
        # A call that raised in the recorded session raises again: the application got the exception and continued.
        with contextlib.suppress(PusherError, TypeError, ValueError):
            getattr(session, name)(*args, now=now, **more)
        while (effect := session.next_effect()) is not None:
            yield effect
    while session is not None and (event := session.next_event()) is not None:
        yield event


class _ReplayedSession(Session):
    """A session that uses the recorded outcomes instead of calls of the application's functions."""

    def __init__(self, options: Options, **settings: Any) -> None:
        super().__init__(options, wall_clock=None, **settings)
        self._catch_ups.is_new = self._is_new
        self._keys: deque[tuple[bool, bool] | None] = deque()
        self._times: deque[float] = deque()
        self._memories: dict[object, CatchUp] = {}

    def use_outcomes(self, line: Mapping[str, Any]) -> None:
        """Set the outcomes of the functions that the next input calls."""
        try:
            self._keys = deque(_OUTCOMES[letter] for letter in line.get("keys", ""))
            self._times = deque(map(float, line.get("times", ())))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not valid outcomes of functions: {describe(error)}") from error
        self._catch_ups.wall_clock = self._times.popleft if self._times else None

    def _is_new(self, memory: CatchUp, event: ChannelEvent, window: int) -> bool:
        if not self._keys:  # the recording ends here, or is an older one
            return memory.is_new(event, window)
        outcome = self._keys.popleft()
        if outcome is None:
            raise RuntimeError("the key function raised an exception when this was recorded")
        new, is_last = outcome
        if is_last:
            memory.last = event
        return new

    def memory(self, number: object, key: Any) -> CatchUp:
        """Return the `CatchUp` with this number; a new one without a number."""
        new = CatchUp(_not_called, key)
        return new if number is None else self._memories.setdefault(number, new)


def _with_outcomes(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the decoded lines, with the outcomes after an input merged into its line."""
    before: dict[str, Any] = {}
    for text in lines:
        try:
            line = _read(text)
        except ValueError:
            if before:
                yield before
            raise
        if line and not line.keys() - {"keys", "times"}:
            before |= line
            continue
        if before:
            yield before
        before = line
    if before:
        yield before


def _begun(line: Mapping[str, Any]) -> _ReplayedSession:
    """Return the session for the first line of a recording."""
    try:
        return _ReplayedSession(
            _rebuilt(line["options"]),
            rng=random.Random(line["seed"]),  # noqa: S311 - as above
            authorize_many=line.get("authorize_many", False),
            messages=line.get("messages", False),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the first line of a recording has to contain its options ({describe(error)})"
        ) from error


def _input(
    session: _ReplayedSession, line: Mapping[str, Any]
) -> tuple[str, float, list[Any], dict[str, Any]]:
    """Return an input, its time and its arguments."""
    name, now = line.get("input"), line.get("now")
    if name not in INPUTS:
        raise ValueError(f"not a valid input of a session: {name!r}")
    if not is_number(now):
        raise ValueError(f"not a valid time of an input: {now!r}")
    try:
        args = [_value(value) for value in line.get("args", [])]
        more = {"auth": _rebuilt_auth(line["auth"])} if "auth" in line else {}
        if "catch_up" in line:
            more["catch_up"] = session.memory(line.get("memory"), line["catch_up"])
        inspect.signature(getattr(session, name)).bind(*args, now=now, **more)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not valid arguments of {name}: {describe(error)}") from error
    return name, now, args, more


def _read(text: str) -> dict[str, Any]:
    try:
        line = msgspec.json.decode(text)
    except ValueError as error:
        raise ValueError(f"not a valid line of a recording: {error}") from None
    if not isinstance(line, dict):
        raise ValueError("not a valid line of a recording: an object was expected")
    return line


def _options(options: Options) -> dict[str, Any]:
    kept: dict[str, Any] = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in _NOT_KEPT and getattr(options, field.name) != field.default
    }
    kept["auth"] = _auth(options.auth)
    if (
        options.proxy is not None
    ):  # with a masked login if there was one, because the tunnel depends on it
        kept["proxy"] = _LOGIN.sub(f"{_MASK}:{_MASK}@", Secret(options.proxy).reveal())
    if options.resolve_url is not None:
        kept["host"] = "resolved.invalid"
    return kept


def _rebuilt(kept: dict[str, Any]) -> Options:
    kept = dict(kept)
    auth = _rebuilt_auth(kept.pop("auth", None))
    for name, value in kept.items():
        if isinstance(value, list):  # JSON has no tuples, and no option is a list
            kept[name] = tuple(value)
    return Options(**{"key": "recorded", **kept}, auth=auth)


def _auth(auth: object) -> dict[str, Any] | None:
    """Return the source of authorizations, without its secrets."""
    match auth:
        case OwnKey():
            member = auth.member if isinstance(auth.member, Mapping) else None
            return {
                "own_key": auth.key,
                "member": _who(member),
                "user": _who(auth.user),
                "encrypts": auth.master_key is not None,
            }
        case AuthEndpoint():
            url = _LOGIN.sub("", auth.url.partition("?")[0])
            names = ("headers", "params", "refresh")
            called = [name for name in names if callable(getattr(auth, name))]
            return {"endpoint": url, "body": auth.body, "batch": auth.batch, "called": called}
        case AuthResponse():
            return {"authorization": _authorization(auth)}
        case None:
            return None
        case _:
            return {"application": True}


def _rebuilt_auth(kept: dict[str, Any] | None) -> Any:
    if kept is None:
        return None
    match kept:
        case {"own_key": key}:
            master = bytes(32) if kept["encrypts"] else None
            return OwnKey(key, _MASK, member=kept["member"], user=kept["user"], master_key=master)
        case {"endpoint": url}:
            called: dict[str, Any] = dict.fromkeys(kept.get("called", ()), _not_called)
            return AuthEndpoint(url, body=kept["body"], batch=kept["batch"], **called)
        case {"authorization": authorization}:
            return msgspec.convert(authorization, AuthResponse)
        case _:
            return _not_called


def _not_called(*_: object) -> Any:
    """Replace a function of the application: its results are inputs of the recording."""


def _authorization(authorization: AuthResponse) -> dict[str, Any]:
    kept: dict[str, Any] = {"auth": authorization.auth.partition(":")[0] + ":" + _MASK}
    for name in ("channel_data", "user_data"):
        text = getattr(authorization, name)
        if text is not None:
            kept[name] = msgspec.json.encode(_who(_read_json(text))).decode()
    if authorization.shared_secret is not None:
        kept["shared_secret"] = _NO_KEY
    return kept


def _who(data: object) -> dict[str, Any] | None:
    if not isinstance(data, Mapping):
        return None
    return {name: data[name] for name in ("id", "user_id") if name in data}


def _read_json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return {"b64": base64.b64encode(value).decode()}
        case AuthResponse():
            return {"authorization": _authorization(value)}
        case ConnectionEnded():
            return {"ended": [value.code, value.reason, value.retry_after]}
        case BaseException():
            return {"error": describe(value)}
        case Outbox():
            return {"outbox": msgspec.to_builtins(value)}
    try:
        encode("", value)
    except LocalProtocolError:  # data that cannot be sent: the session will raise
        return {"unknown": type(value).__name__}
    return {"value": value}


def _shape_of(result: object) -> dict[str, Any]:
    """Return the result of a function for the recording, without its content if it may be secret."""
    if isinstance(result, BaseException):
        return {"error": describe(result)}
    if isinstance(result, Mapping):
        return {"value": {}}
    if isinstance(result, list) and all(isinstance(each, ChannelEvent) for each in result):
        return {"events": [(e.channel, e.name, e.wire_data, e.user_id, e.extra) for e in result]}
    return {"value": None}


def _value(kept: Any) -> Any:
    match kept:
        case {"b64": text}:
            return base64.b64decode(text)
        case {"authorization": authorization}:
            return msgspec.convert(authorization, AuthResponse)
        case {"ended": [code, reason, *more]}:  # in older recordings there are two
            return ConnectionEnded(code, reason, retry_after=more[0] if more else None)
        case {"error": text}:
            return OSError(text)
        case {"outbox": settings}:
            return msgspec.convert(settings, Outbox)
        case {"value": value}:
            return value
        case {"unknown": "str"}:
            return "\ud800"  # another invalid Unicode text
        case {"events": events}:
            return [
                ChannelEvent(channel, name, data, user_id, extra, caught_up=True)
                for channel, name, data, user_id, extra in events
            ]
        case {"unknown": _}:
            return object()
        case _:
            raise ValueError(f"not a valid argument of a recording: {kept!r}")
