"""The prose of the project follows the rules of `tests.prose`, and these rules find what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from prose import ROOT, findings, main, of_python, sources


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_that_is_not_used_here(path: Path) -> None:
    assert [str(finding) for finding in findings(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        '"""Connect anew."""',
        "value = 1  # the task that nobody waits for",
        'raise ValueError("what came is no JSON, and is told")',
        'def f() -> None:\n    """To be called once."""',
    ],
)
def test_each_kind_of_prose_in_a_module_is_read(text: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(text)
    assert findings(module)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("The text is no number.", "There is no number, and it is no longer used."),
        ("Note the time.", "Note that it raises."),
        ("Take bytes that were received.", "Take a snapshot."),
        ("Return the error, or an empty text.", "Return the text, or an empty list."),
        ("The server refused for good.", "It stays for hours."),
        ("Reading goes on.", "The message goes on the wire."),
        ("The subscribe goes out.", "It goes out of scope."),
        ("Sockudo ends so.", "The line ends, so read on."),
        ("Say why in words.", "Count in seconds."),
        ("A key is asked for.", "It asks for a key."),
        ("Format it as browsers have it.", "It is as old as it looks."),
        ("An authorization is being got.", "It has got a name."),
        ("The channel was left.", "It is left alone."),
        ("Any byte is a sign of life.", "It is a sign of an error."),
        ("It follows behind the ping.", "It is behind a proxy."),
        ("Say what a person can do.", "Say what the user can do."),
        ("Report what became of it.", "It became slow."),
        ("Soketi keeps silent.", "It keeps the order."),
        ("What the server sends.", "Return what the server sends."),
        ("Who is online.", "What is a member?"),
    ],
)
def test_each_pattern_finds_what_it_is_for(wrong: str, right: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(f'"""{wrong}"""\n')
    assert findings(module)
    module.write_text(f'"""{right}"""\n')
    assert findings(module) == []


def test_data_of_tests_is_not_prose() -> None:
    text = 'def f() -> None:\n    """Connect now."""\n    name = "nobody waits"\n    """The name."""\n    # Why.\n'
    assert sorted(of_python(text, messages=False)) == [
        (2, "Connect now."),
        (4, "The name."),
        (5, "# Why."),
    ]
    assert (3, "nobody waits") in of_python(text)


def test_code_is_not_prose(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Call `anew`.\n\n```python\nmeanwhile = 1\n```\n\nConnect\nanew.\n")
    assert [finding.line for finding in findings(page)] == [8]


def test_quantities_are_not_findings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("There are no more files.\n\nIt waits no more.\n")
    assert [finding.line for finding in findings(page)] == [3]


def test_words_that_are_right_elsewhere_are_not_findings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "There is no key, and it is no longer JSON.\n\nThis is no JSON.\n\nIt has so many others that one fails.\n"
    )
    assert [finding.line for finding in findings(page)] == [3]


def test_the_command_fails_on_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(ROOT / "README.md")]) == 0
    assert capsys.readouterr().out == "0 findings in 1 files\n"
