"""Config files for tests: written, loaded, and what is wrong with them."""

from pathlib import Path

from monitor.config import Config, ConfigError, load_config
from monitor.config.sources import Sources

ENVIRON = {"TOKEN": "talq_canary_1", "SAME": "talq_canary_1", "OTHER": "talq_canary_2", "EMPTY": ""}
"""The variables that files of tests refer to; whatever holds `canary` is never to be shown."""

MINIMAL = """\
environments:
  - name: production
    token: ${TOKEN}
    campaigns: [{id: c-1}]
"""
"""The shortest file that is right."""


def an_environment(*lines: str) -> str:
    """Return a file with one environment, which has one campaign and these lines as well."""
    return MINIMAL + "".join(f"    {line}\n" for line in lines)


def written(folder: Path, text: str | bytes) -> Path:
    """Return the path of a config file with this text."""
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def loaded(folder: Path, text: str, **environ: str) -> Config:
    """Return what a file with this text means."""
    return load_config(written(folder, text), {**ENVIRON, **environ})


def problems_of(path: Path, **environ: str) -> list[str]:
    """Return what is wrong with a file, each as `line: key: message`; nothing if it is right."""
    try:
        load_config(path, {**ENVIRON, **environ})
    except ConfigError as error:
        found = [str(problem) for problem in error.problems]
        return [text.removeprefix(str(path)).lstrip(": ") for text in found]
    return []


def problems_in(folder: Path, text: str | bytes, **environ: str) -> list[str]:
    """Return what is wrong with a file with this text."""
    return problems_of(written(folder, text), **environ)


def meaning(config: Config) -> Config:
    """Return a config without what says of which bytes it was read."""
    copy = config.model_copy()
    copy._digest, copy._settings, copy._sources = b"", {}, Sources()
    return copy
