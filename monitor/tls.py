"""Whom we trust by TLS; `config check` makes the daemon's own contexts: what it accepts works."""

import os
import ssl
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a verifying context that trusts `ca_file` alone, or else the system's roots.

    Raises ValueError as `trust` does.
    """
    return _client(None, *_stamps()) if ca_file is None else _client(_authorities(ca_file))


def missing_roots() -> Iterator[str]:
    """Yield what is wrong with the roots of the system, for whoever set it up."""
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            _authorities(Path(file))
        except ValueError as error:
            yield f"SSL_CERT_FILE: {error}"
    folder = ssl.get_default_verify_paths().capath
    # Those of a folder are looked up by their hash, when one is needed.
    if not (client_context().get_ca_certs() or (folder and any(Path(folder).glob("*.[0-9]")))):
        yield "no certificate authority on this system: set ca_file, SSL_CERT_FILE or SSL_CERT_DIR"


def trust(context: ssl.SSLContext, ca_file: Path) -> None:
    """Have a context trust the certificates in a PEM file.

    Raises ValueError, fit for whoever wrote the config, where it is no readable file or has none.
    """
    context.load_verify_locations(cadata=_authorities(ca_file))


# One for all that trust the same: each costs 35 ms.
@lru_cache
def _client(authorities: str | None, *_: object) -> ssl.SSLContext:
    # Not `create_default_context`: that writes the keys of every connection to SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authorities)
    return context


def _stamps() -> list[tuple[str, int]]:
    """Return what changes when the system's roots do: their bundle may be replaced as well."""
    paths = ssl.get_default_verify_paths()
    return [(path, Path(path).stat().st_mtime_ns) for path in (paths.cafile, paths.capath) if path]


def _authorities(ca_file: Path) -> str:
    try:
        # A FIFO would be waited for.
        if ca_file.is_file():
            # What is not ASCII is a comment: the name of an authority, in many a bundle.
            return _checked(ca_file.read_text("ascii", "ignore"))
    # SSLError is an OSError, and an empty text a ValueError.
    except (ssl.SSLError, ValueError):
        raise ValueError(f"{ca_file} has no certificates in PEM format") from None
    except OSError as error:
        raise ValueError(f"{ca_file} cannot be read: {error.strerror}") from None
    raise ValueError(f"{ca_file} is not a file")


# Once for all environments that trust the same.
@lru_cache
def _checked(authorities: str) -> str:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=authorities)
    return authorities
