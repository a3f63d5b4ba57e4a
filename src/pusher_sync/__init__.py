"""A client for the Pusher Channels protocol in blocking code: `with open_pusher(options) as client`.

The names of `pusher_proto` that programs use (options, authorizations, events, errors) are here as well.
"""

from pusher_proto import vocabulary
from pusher_proto.vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

from ._channel import Binding, Channel, Stream, User
from ._client import Authorizer, Client, open_pusher
from ._io import ConnectMessages, MessageConnection
from ._merging import Merged, merge

__all__ = ["Authorizer", "Binding", "Channel", "Client", "ConnectMessages", "Merged"]
__all__ += ["MessageConnection", "Stream", "User", "merge", "open_pusher", *vocabulary.__all__]
