"""The examples of properties: JSON values, and their number."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from proto.websocket_peer import EXAMPLES

__all__ = ["json_objects", "json_values", "tried"]

tried = settings(max_examples=EXAMPLES, deadline=None)

texts = st.text(max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["", "null", "1", "{}", '"text"', "[", "\x00", "é€😀"])
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
