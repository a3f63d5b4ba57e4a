"""Gives each asynchronous example of a page a second tab: the same for blocking code.

The pages have the asynchronous example alone. Both clients have the same names, so the other one follows by rules: no
`async` and `await`, `pusher_sync` for `pusher_anyio`, `time` for `anyio`. tests/test_docs.py runs both.
"""

from __future__ import annotations

import re

__all__ = ["blocking", "examples", "tabbed"]

PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
APART = ("coming-from-", "embedding", "fuzzing", "index", "parity", "performance", "testing")
"""Beginnings of the names of pages without such tabs: they compare clients, show one of them, or have tabs already."""
RULES = [
    (r"\basync (?=for|with|def)", ""),
    (r"\bawait ", ""),
    (r"\bpusher_anyio\b", "pusher_sync"),
    (r"^import anyio\n(?=(?s:.*)\banyio\.sleep\()", "import time\n"),
    (r"^import anyio\n", ""),
    (r"\banyio\.run\(main\)", "main()"),
    (r"\banyio\.sleep\(", "time.sleep("),
    (r"\basyncio\.run\(main\(\)\)", "main()"),
]
# What has no counterpart in blocking code by these rules.
ASYNC_ONLY = re.compile(
    r"\b(anyio|asyncio|trio|fastapi|create_task_group|pusher_sync\.testing)\b", re.IGNORECASE
)
COMMENT = re.compile(r"(?<=\S)  +(#.*)$")


def blocking(code: str) -> str | None:
    """Return an asynchronous example for the blocking client; None where there is none, or nothing differs."""
    if not re.search(r"\basync (for|with|def)\b|\bawait\b|\bpusher_anyio\b", code):
        return None
    other = code
    for pattern, replacement in RULES:
        other = re.sub(pattern, replacement, other, flags=re.MULTILINE)
    if ASYNC_ONLY.search(other):
        return None
    return _aligned(other.lstrip("\n"), code)


def _aligned(code: str, like: str) -> str:
    """Return `code` with the comments behind its lines where the same comments are in `like`."""
    places = {
        found[1]: found.start(1) for line in like.splitlines() if (found := COMMENT.search(line))
    }
    lines = []
    for line in code.splitlines():
        found = COMMENT.search(line)
        if found is not None and found[1] in places:
            line = line[: found.start()].ljust(places[found[1]]) + found[1]
        lines.append(line)
    return "\n".join(lines) + "\n"


def examples(page: str, text: str) -> list[str]:
    """Return the Python blocks of a page that have a tab for blocking code, as that tab shows them."""
    if page.startswith(APART):
        return []
    others = (blocking(match[1]) for match in PYTHON.finditer(text) if not _in_tab(match))
    return [other for other in others if other is not None]


def tabbed(page: str, text: str) -> str:
    """Return the text of a page with tabs in the place of asynchronous examples."""

    def tabs(match: re.Match[str]) -> str:
        other = None if _in_tab(match) else blocking(match[1])
        if other is None:
            return match[0]
        items = "".join(
            f":::{{tab-item}} {name}\n:sync: {name}\n\n```python\n{code}```\n\n:::\n"
            for name, code in (("async", match[1]), ("blocking", other))
        )
        return f"::::{{tab-set}}\n:sync-group: client\n\n{items}::::"

    return text if page.startswith(APART) else PYTHON.sub(tabs, text)


def _in_tab(match: re.Match[str]) -> bool:
    """Return whether the block is in a tab of the page already."""
    before = match.string[: match.start()].rstrip().rpartition("\n")[2]
    return before.startswith((":::{tab-item}", ":sync:"))
