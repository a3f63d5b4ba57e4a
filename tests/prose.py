"""Words and patterns that the project's prose does not use, and a count of them: `python -m tests.prose [PATH...]`.

Looks at docstrings, comments and messages of the sources, at docstrings and comments of the tests, and at the pages of
documentation. Prints each finding with what to write instead; the exit status is 1 when there is any.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
ROOT = TESTS.parent
OF_THESE_RULES = {"prose.py", "test_prose.py"}
"""Modules of the tests that quote the words of the rules."""

READABLE_PAGE = """
How prose is written here.

- A docstring says what the function does, in the imperative: "Return ...", "Send ...", "Cancel ...". It does not
  report that something happened.
- A relative clause has a noun: "the caller that waits", not "who waits"; "the next message", not "what comes".
- One word for one thing: authorization, subscription, member, socket id, trigger, bind. To log, to emit, to return
  and to notify are different things; so are to close, to lose, to drop and to cancel.
- A comment stands on the line above, has one or two sentences, and says why.
- Reading a module from top to bottom must be enough to understand it.
"""

RULES: list[tuple[str, str]] = [
    (r"\banew\b", "again"),
    (r"\b(whoever|whom|whomever)\b", "name the person or the thing"),
    (r"\bmeanwhile\b", "name the time: while ..., until ..."),
    (r"\bnonetheless\b", "still"),
    (r"\bof the moment\b", "current"),
    (r"\bof (one|your|its|our|his|their)('s)? own\b", "your own ..., its own ..."),
    (r"\bof ours\b", "our"),
    # Not before a noun, as in "no more files".
    (r"\bno more\b(?=[.,;:)]|\s*$| (that|of|when|to|is|be|with|by|from|in|at)\b)", "no longer"),
    (r"\bsees? to\b(?! it that)", "handle"),
    (r"\b(tells?|told) of\b", "report, log, emit"),
    (r"\b(is|are|was|were|been|being) told\b", "is notified, gets, is logged"),
    (r"\b(comes?|came) along\b", "included"),
    (r"\bbelongs? into\b", "belongs to"),
    (r"\b(stands?|stood) in\b", "is in"),
    (r"\bLet [A-Za-z`_.]+ be (called|due|told|given)\b", "Call ..., Set ..."),
    (
        (
            r"(\b(of|to|by|or|for|and|tell|tells|let|with|from|than) |\A|[.;:] )"
            r"who (waits?|wants?|comes?|asks?|asked|listens?|reads?|looks?|is|are|has|had|leaves|joins|calls)\b"
        ),
        "name the caller, the listener, the member",
    ),
    (
        r"\bwhat (comes|came|waits|waited|was meant|stands|is meant)\b",
        "name the message, the event, the request",
    ),
    (r"\bthose that\b", "name the things"),
    (r"\ball that (is|was|comes|came|there)\b", "everything ..., or name the things"),
    (r"\bthat there (is|are)\b", "leave it out"),
    (r"\bnobody\b", "no one; better: name what does not happen"),
    (r"\bmend(s|ed|ing)?\b", "fix"),
    (r"\bamid\b", "during"),
    (r"\b(under way)\b", "in progress, pending"),
    (r"\bwant(s|ed)? to be\b(?= (closed|opened|sent|read))", "is to be"),
    (r"\bby (hand|itself) alone\b", "alone"),
    (r"\b(is|are) of use\b", "is useful"),
    (r"\bin (its|their) (midst)\b", "inside"),
    (r"\bwithout a word\b", "silently"),
    (r"\bever so\b", "leave it out"),
    (r"\bput down to\b", "attributed to"),
    (r"\bin vain\b", "without effect"),
    (r"\bby (one|the) name of\b", "named"),
    (r"\b(hear|hears|heard) of\b", "is notified of, receives"),
    (r"\bwish(es)?\b(?! list)", "subscription, request"),
    (r"\b(taker|takers)\b", "listener"),
    (r"\blevers?\b", "controls"),
    (r"\bgrants?\b", "authorization"),
    (r"\bunclaimed\b", "backlog"),
    (r"\bmakes? no sense\b", "is invalid, is wrong"),
    (r"\b(all the same|as ever|as it came)\b", "still; as usual; unchanged"),
    (r"\bno longer of use\b", "no longer needed"),
    (r"\AT?o be called\b|[.:;]\s+To be called\b", "Call it ..."),
    (r"\b(somebody|anybody)\b", "someone; better: name the person or the thing"),
    (r"\bin (the )?place of\b", "instead of"),
    (r"\b(after|of|each|every|for|in) so many\b", "this number of"),
    (
        r"\b(bytes?|signals?|answers?|messages?|errors?|an event) (comes|came)\b(?! from)",
        "is received, arrives",
    ),
    (
        (
            r"(?<!\bthere )\b(is|are|was|were) no "
            r"(?!longer\b|more\b|less\b|better\b|worse\b|different\b|such\b|need\b|doubt\b)(?=[a-z])"
        ),
        "is not a ..., are not ...",
    ),
    (r"\A\s*Note (?!that\b)(?=[a-z])", "Record ..., Store ..., Handle ..."),
    (
        r"\ATake (received )?(bytes|messages?|the (end|answer)|what|an? (message|answer|error|pong))\b",
        "Process ...",
    ),
    (r"\bempty text\b", 'empty string, ""'),
    (r"\bfor good\b", "permanently, final"),
    (r"\b(go|goes|going|went) on\b(?! the)", "continue, resume"),
    (r"\b(go|goes|going|went) out\b(?! of)", "is sent"),
    (r"\b(ends?|answers?|closes?) so\b", "does so"),
    (r"\bin words\b", "as text"),
    (r"\b(is|are|was|were|be|been) asked for\b", "is requested"),
    (r"\bas [A-Za-z' ]{1,30} (has|have|wants?) it\b", "as in ..., as ... requires"),
    (r"\b(are|is|was|were|being) got\b", "is obtained, is requested"),
    (r"\bchannels? (that )?(was|were|is|are|has been) left\b", "is unsubscribed"),
    (r"\bsigns? of life\b", "name what was received"),
    (r"\bbehind (each|the (answer|success|ping|pong|event|message|greeting))\b", "after"),
    (r"\bwhat a person can do\b", "what the user can do"),
    (r"\bwhat became of\b", "the result of, the state of"),
    (r"\bkeeps? silent\b", "does not answer"),
    # The beginning of a docstring, a comment or a line of a page.
    (r"\A\s*(# )?(?-i:What|Who)\b(?!.*\?)", "begin with a verb or a noun"),
]

PATTERNS = [
    (re.compile(pattern, re.IGNORECASE if pattern[2:3] != "L" else 0), use)
    for pattern, use in RULES
]

FENCE = re.compile(r"^(```|~~~|:::)")
CODE = re.compile(r"`[^`\n]*`")


class Finding(NamedTuple):
    """One use of a word that is not used here."""

    path: Path
    line: int
    found: str
    use: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.found!r}: write: {self.use}"


def sources() -> list[Path]:
    """Return the files whose prose is held to the rules."""
    return [
        *sorted((ROOT / "src").rglob("*.py")),
        *sorted((ROOT / "examples").rglob("*.py")),
        *sorted((ROOT / "benchmarks").rglob("*.py")),
        *sorted((ROOT / "fuzz").rglob("*.py")),
        *sorted(path for path in TESTS.rglob("*.py") if is_ours(path)),
        *sorted((ROOT / "docs").rglob("*.md")),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    ]


def is_ours(path: Path) -> bool:
    """Return whether a file of the tests is held to the rules: downloads, in hidden folders, are not."""
    hidden = any(part.startswith(".") for part in path.relative_to(TESTS).parts)
    return path.name not in OF_THESE_RULES and not hidden


def findings(path: Path) -> list[Finding]:
    """Return each use of a word or pattern of `RULES` in the prose of one file."""
    text = path.read_text(encoding="utf-8")
    messages = not path.is_relative_to(TESTS)
    passages = of_python(text, messages=messages) if path.suffix == ".py" else of_markdown(text)
    return [
        Finding(path, line + prose.count("\n", 0, match.start()), match.group(), use)
        for line, prose in passages
        for pattern, use in PATTERNS
        for match in pattern.finditer(
            CODE.sub(lambda code: "`" + "x" * (len(code[0]) - 2) + "`", prose)
        )
    ]


def of_python(text: str, *, messages: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module, each with its line, and with `messages` its other texts too."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    tree = ast.parse(text)
    # A docstring, of an attribute too, is a statement.
    statements = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    for node in ast.walk(tree) if messages else statements:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page that are no code."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line.strip()) and not line.strip().startswith(":::"):
            inside = not inside
        elif not inside:
            yield number, line


def main(arguments: list[str]) -> int:
    """Print the findings in the given files and folders, or in all of the project's prose."""
    known = sources()
    if arguments:
        chosen = [Path(argument).resolve() for argument in arguments]
        known = [path for path in known if any(path.is_relative_to(one) for one in chosen)]
    found = [finding for path in known for finding in findings(path)]
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    sys.stdout.write(f"{len(found)} findings in {len(known)} files\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
