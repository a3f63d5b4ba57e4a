"""Draw the table of what follows a failure into docs/reconnecting.md.

`python tests/failure_table.py` draws it again; a test fails when the page shows another table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pusher_proto._protocol.failures import FAILURES, Cause, Row, Step, Subject

PAGE = Path(__file__).parents[1] / "docs" / "reconnecting.md"

_NAMES = {
    Step.AT_ONCE: "at once",
    Step.BACK_OFF: "back off",
    Step.WAIT: "wait",
    Step.A_FEW: "a few tries",
    Step.PROMPT: "promptly",
    Step.PROMPT_THEN_RARE: "promptly, then rarely",
    Step.SLOW: "slowly",
    Step.RARE: "rarely",
    Step.WHEN_FREE: "when free",
    Step.FINAL: "never",
}


def drawn(text: str, table: Mapping[Cause, Row] = FAILURES) -> str:
    """Return `text` with the table between its markers drawn again."""
    marked = re.compile(r"(<!-- failures: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    text, count = marked.subn(lambda m: m[1] + _table(table) + m[2], text)
    assert count == 1, "docs/reconnecting.md has no place for the table"
    return text


def _table(table: Mapping[Cause, Row]) -> str:
    lines: list[str] = []
    for subject in Subject:
        lines += [
            f"| {subject.value} | at first | once it was good | because |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {cause.value} | {_NAMES[row.at_first]} | {_NAMES[row.once_good]} | {row.reason} |"
            for cause, row in table.items()
            if row.subject is subject
        ]
        lines.append("")
    lines += ["| next attempt | when |", "| --- | --- |"]
    lines += [f"| {_NAMES[step]} | {step.value} |" for step in Step]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
