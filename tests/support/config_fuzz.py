"""Config files that nobody meant: any bytes, and the example with pieces of it changed.

What must come of each: a config, or problems with their places; never a traceback, and never a
secret in a message.
"""

import re
import traceback
from pathlib import Path

from hypothesis import strategies as st

from monitor.config import ConfigError, effective_yaml, load_config

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
SECRET = "talq_canary_of_the_fuzz"
ENVIRON = {"TALKOVER_TOKEN": SECRET, "PLAIN": "word", "EMPTY": "", "LINES": "canary-a\nb"}

# Pieces that mean something to YAML, to this format, or to a message.
_PIECES = st.sampled_from(
    ["${TALKOVER_TOKEN}", "${PLAIN}", "${LINES}", "${NOBODY}", "$${", "${", SECRET, "&a ", "*a",
     "!t ", "<<: *a", "---\n", "...\n", "? ", "- ", ": ", ":", "\t", "\n", "\r", "\n  ", "[", "]",
     "{", "}", "'", '"', '"\\ud800"', '"\\UFFFFFFFF"', "\xa0", "\u2028", "\x85", "\ufeff", "\x00",
     "#", "|\n", ">-\n", "null", "~", "true", "-1", "0", "1e400", "9" * 400, "5m", "10y", "nan",
     ".inf", "\xe9" * 70, "\U0001f600", "token", "token: ", "labels: {team: ", "https://u:p@h/",
     "http://[::1", "(a+)+$", "[a", "%", "@"]
)  # fmt: skip
_LINE_ENDS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def _lines() -> list[str]:
    """Return the example as the fuzz begins with it: keys in comments taken in, its token ours."""
    text = EXAMPLE.read_text().replace(
        "token_file: /run/secrets/talkover", "token: ${TALKOVER_TOKEN}"
    )
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return the example with some changes: lines away, twice, elsewhere; words and marks in it."""
    lines = _lines()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "move", "indent", "value", "piece"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "indent":
                lines[at] = " " * draw(st.integers(0, 9)) + lines[at].lstrip()
            case "value":
                lines[at] = re.sub(r":.*", f": {draw(_PIECES)}".replace("\\", r"\\"), lines[at])
            case _:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(_PIECES | st.text(max_size=3)) + lines[at][cut:]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


FILES = (
    st.binary(max_size=200)
    | st.lists(_PIECES, max_size=20).map(lambda parts: "".join(parts).encode())
    | mutated()
)


def outcome(path: Path, raw: bytes) -> str:
    """Return what came of a file with these bytes; AssertionError where that must not be."""
    path.write_bytes(raw)
    refused = None
    try:
        config = load_config(path, ENVIRON)
    except ConfigError as error:
        refused = error
    if refused is None:
        assert SECRET not in effective_yaml(config) + repr(config)
        return "config"
    assert refused.problems
    lines = len(_LINE_ENDS.findall(raw.decode(errors="replace"))) + 1
    for problem in refused.problems:
        assert problem.message
        assert problem.file == str(path)
        assert 1 <= (problem.line or 1) <= lines, f"line {problem.line} of {lines}"
        assert str(problem).isprintable(), ascii(str(problem))
    told = "".join(traceback.format_exception(refused))
    assert SECRET not in told
    assert "canary-a" not in told
    return "problems"
