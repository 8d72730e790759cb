"""`sftp-monitor healthy`: the health check of an image, a pod or a script."""

import os
import ssl
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import click

from monitor.cli import options
from monitor.config import load_web
from monitor.core.text import clean


@click.command()
@options.config_file
@partial(options.run_flags, only=("--web.listen-address", "--web.config.file"))
def healthy(
    config_file: Path | None, web_listen_address: str | None, web_config_file: Path | None
) -> int:
    """Ask the daemon of this config, on this machine, whether its poll loop turns.

    Exit code: 0 it does, 1 it does not or nobody answers. Of the config only the part `web` counts.
    """
    flags = {"--web.listen-address": web_listen_address, "--web.config.file": web_config_file}
    web = load_web(config_file or options.usual_config(), os.environ, flags)
    host, port = web.listen_address
    try:
        # What listens everywhere, 0.0.0.0, is reached by this name, too.
        status, said = _ask(host or "localhost", port, tls=web.config_file is not None)
    except (OSError, HTTPException) as error:
        status, said = 0, str(error) or type(error).__name__
    click.echo(f"{web.listen_address}: {status or ''} {clean(said, 300)}", err=status != 200)
    return int(status != 200)


def _ask(host: str, port: int, *, tls: bool) -> tuple[int, str]:
    connection = HTTPConnection(host, port, timeout=5)
    if tls:
        # Nothing secret is sent, and the certificate is made out to another name. It need not be
        # read: the web config file may be bad by now.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, port, timeout=5, context=context)
    try:
        with closing(connection):
            connection.request("GET", "/-/healthy")
            answer = connection.getresponse()
            return answer.status, answer.read(1000).decode(errors="replace")
    except ssl.SSLError as error:
        # The file has passwords, and no TLS.
        if error.reason not in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            raise
        return _ask(host, port, tls=False)
