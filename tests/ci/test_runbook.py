"""docs/runbook.md says what the code says."""

import re
import tomllib
from pathlib import Path

import pytest

RUNBOOK = Path("docs/runbook.md").read_text()


def source(path):
    """The code of a file without its tests and comments, and with literals that go over several lines in one."""
    text = path.read_text().split("#[cfg(test)]\nmod tests {")[0]
    text = re.sub(r"^\s*//.*$", "", text, flags=re.M)
    return re.sub(r"\\\n\s*", "", re.sub(r"""b?'\\?"'""", "0", text))


SOURCES = {
    path: source(path)
    for path in Path("src").rglob("*.rs")
    if "tests" not in path.name and "properties" not in path.name
}
LITERAL = r'"((?:[^"\\]|\\.)*)"'
HOLE = re.compile(r"\{[^{}]*\}")
# What stands between the parts of a text that is put together.
GLUE = {": ", " upstream ", "ERR ", "s", "UNAVAILABLE", "TLS: "}


def literals():
    for text in SOURCES.values():
        yield from re.findall(LITERAL, text)


def pieces():
    """The parts of literals around what is filled in; short ones would fit anywhere."""
    # An error on the wire is written whole here and there.
    texts = (literal.removeprefix("-").removesuffix(r"\r\n") for literal in literals())
    parts = (part for text in texts for part in HOLE.split(text))
    return {part for part in parts if len(part) >= 8 and " " in part} | GLUE


def is_made_of(text, parts):
    """Whether the text is a sequence of parts."""
    reached = {0}
    for at in range(len(text)):
        if at in reached:
            reached |= {at + len(part) for part in parts if text.startswith(part, at)}
    return len(text) in reached


def named():
    """The texts in the runbook's code spans, with what is filled in left out."""
    return {re.sub(r"<[^<>]*>", "<>", span) for span in re.findall(r"`([^`\n]+)`", RUNBOOK)}


def as_named(literal):
    return HOLE.sub("<>", literal)


HEADINGS = re.findall(r"^### `(.+)`$", RUNBOOK, re.M)


def test_there_are_headings():
    assert len(HEADINGS) > 20


@pytest.mark.parametrize("heading", HEADINGS)
def test_an_error_in_the_runbook_is_one_of_the_code(heading):
    parts = pieces()
    for text in re.split(r"<[^<>]*>", heading):
        assert is_made_of(text, parts), text


def test_a_text_that_is_none_of_the_code_is_seen():
    parts = pieces()
    assert is_made_of(": no reply within request_timeout, the command may have been carried out", parts)
    assert not is_made_of(": no reply within request_timeout, the command was carried out", parts)
    assert not is_made_of(": circuit opened, next attempt in ", parts)


# Where the code says why something cannot be had, or why a connection ends.
REASONS = [
    r"(?:lanes|node\(\)|node)\.error\(\s*" + LITERAL,
    r"ConnectError::(?:Unreachable|Busy|Refused)\(\s*(?:format!\(\s*)?" + LITERAL,
    r"LaneEnd::Lost\(\s*(?:format!\(\s*)?" + LITERAL,
    r"go_down\(\s*" + LITERAL,
    r"cut = Some\(\s*" + LITERAL,
    r"const NO_REPLY: &str = " + LITERAL,
    r"Self::Cut => " + LITERAL,
    r"let (?:waited|reason) = (?:format!\(\s*)?" + LITERAL,
    r"(?:output_limit|buffers\.is_over\(\)) \{\s*(?:Some\()?" + LITERAL,
    r"LaneEnd::RoleChanged \| LaneEnd::Finished => \(\s*" + LITERAL,
]
# To nobody: the client is gone.
UNTOLD = {"the client is gone"}


@pytest.mark.parametrize("form", REASONS)
def test_a_reason_in_the_code_is_in_the_runbook(form):
    reasons = {as_named(text) for source in SOURCES.values() for text in re.findall(form, source)}
    assert reasons, "the code has another form"
    spans = named()
    for reason in reasons - UNTOLD:
        assert any(span == reason or span.endswith(": " + reason) for span in spans) or any(
            span.startswith("UNAVAILABLE upstream <>: " + reason + ",") for span in spans
        ), reason


def calls(macro):
    """What is between the parentheses of each call."""
    for source in SOURCES.values():
        for found in re.finditer(rf"tracing::{macro}!\(", source):
            end = re.compile(r'(?:[^()"]|"(?:[^"\\]|\\.)*"|\([^()]*(?:\([^()]*\)[^()]*)*\))*').match(source, found.end())
            yield end.group()


@pytest.mark.parametrize("macro", ["warn", "error"])
def test_what_the_log_warns_of_is_in_the_runbook(macro):
    messages = {as_named(re.findall(LITERAL, call)[-1]) for call in calls(macro)}
    assert len(messages) >= {"warn": 15, "error": 1}[macro]
    assert messages <= named()


def test_each_metric_in_the_runbook_is_one_of_the_code():
    names = set(re.findall(LITERAL, Path("src/telemetry/names.rs").read_text()))
    used = set(re.findall(r"`(nearside_[a-z0-9_]+)", RUNBOOK))
    assert used and used <= names
    # Those of the upstream are all there.
    assert {name for name in names if name.startswith(("nearside_circuit", "nearside_upstream"))} <= used


def test_states_and_causes_are_all_there():
    source = Path("src/upstream/breaker/transition.rs").read_text()
    words = set(re.findall(r'Self::\w+ => "([a-z_-]+)"', source))
    assert len(words) == 5 + 8 + 4
    assert words <= named()


def test_the_breaker_s_settings_are_those_of_the_example():
    breaker = tomllib.loads(Path("config/nearside.toml").read_text())["breaker"]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", RUNBOOK, re.M)
    told = {key: tomllib.loads(f"value = {value}")["value"] for key, value in rows if key in breaker}
    assert told == breaker
