"""Turns the arguments that name a server into the options of a client."""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace

from pusher_proto import AuthEndpoint, Options, OwnKey, PusherError, proxy_from_env
from pusher_proto.names import ChannelKind, check_channel, kind_of
from pusher_proto.options import check_header

from ._arguments import Arguments, UsageError

__all__ = ["options_from", "server_of", "ssl_context_from"]


def options_from(arguments: Arguments, channels: Iterable[str]) -> Options:
    """Return the options for the arguments, fit for subscribing to `channels`. Raises `UsageError`."""
    try:
        options = replace(_address(arguments), origin=arguments.origin)
        strict = options.strict_names and not arguments.any_name
        options = replace(options, strict_names=strict)
        proxy = arguments.proxy or proxy_from_env(os.environ, options.url)
        options = replace(options, proxy=proxy)
        if arguments.secret is not None:
            options = replace(options, auth=OwnKey(options.key, arguments.secret))
        elif arguments.auth_url is not None:
            headers = dict(_header(text) for text in arguments.headers)
            options = replace(options, auth=AuthEndpoint(arguments.auth_url, headers=headers))
        elif arguments.headers:
            raise UsageError("--header is for --auth-url, which is missing")
        for channel in channels:
            check_channel(channel, strict=strict)
            kind = kind_of(channel)
            if kind.needs_authorization and options.auth is None:
                raise UsageError(f"{channel} needs --secret, or --auth-url")
            own = isinstance(options.auth, OwnKey) and options.auth.master_key is None
            if kind is ChannelKind.ENCRYPTED and own:
                raise UsageError(
                    f"{channel} needs --auth-url: --secret is not enough for an encrypted channel"
                )
    except (ValueError, PusherError) as error:
        raise UsageError(str(error)) from error
    if isinstance(options.auth, OwnKey):
        # On a presence channel each listener is a separate member.
        member = {"user_id": f"pusher-proto-{secrets.token_hex(4)}"}
        options = replace(options, auth=replace(options.auth, member=member))
    return options


_OF_HOSTS: dict[str, Callable[..., Options]] = {
    "pusher": Options.from_host,
    "reverb": Options.for_reverb,
    "soketi": Options.for_soketi,
    "sockudo": Options.for_sockudo,
}


def _address(arguments: Arguments) -> Options:
    if arguments.host is None:
        for name in ("port", "no_tls", "path", "dialect"):
            if getattr(arguments, name):
                raise UsageError(f"--{name.replace('_', '-')} goes with --host alone")
    key = arguments.key
    if arguments.env:
        if key is not None:
            raise UsageError("--key does not go with --env, which names the app itself")
        return Options.from_env(os.environ)
    if arguments.url is not None:
        return Options.from_url(arguments.url, **({} if key is None else {"key": key}))
    if key is None:
        raise UsageError("--key is missing: the key of the app")
    if arguments.cluster is not None:
        return Options.from_cluster(arguments.cluster, key=key)
    make = _OF_HOSTS[arguments.dialect or "pusher"]
    port, path = arguments.port, arguments.path or ""
    return make(arguments.host, key=key, port=port, tls=not arguments.no_tls, path=path)


def server_of(options: Options) -> str:
    """Return host and port of the server, for messages."""
    address = options.address()
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        # The text may be a token: it is not repeated.
        raise UsageError("--header is written 'Name: value', with a colon")
    check_header(name.strip(), value.strip())
    return name.strip(), value.strip()


def ssl_context_from(arguments: Arguments) -> ssl.SSLContext | None:
    """Return a context that trusts the file of `--ca` too, or None without one. Raises `UsageError`."""
    if arguments.ca is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=arguments.ca)
    except OSError as error:  # an SSLError is one too
        why = error.strerror or "no certificates in it"
        raise UsageError(f"--ca {arguments.ca}: {why}") from error
    return context
