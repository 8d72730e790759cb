"""The programs beside which the monitor is measured, with a config of their own each, on loopback.

nginx is the API, for the monitor and for blackbox_exporter alike.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml

from performance.programs import HOST, TOKEN, Program, free_port, get, running
from support.peers import find_peer

PEERS = ("nginx", "blackbox_exporter", "prometheus")
"""By their names in tests/support/peers.py."""

_VERSION = {"nginx": "-v"}


def program(name: str) -> str:
    """Return the path of a peer's program. Raises FileNotFoundError."""
    found = find_peer(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def version(name: str) -> str:
    """Return the version that a peer gives itself."""
    command = [program(name), _VERSION.get(name, "--version")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


@dataclass
class NginxApi:
    """nginx as the API: a valid answer for whatever campaign, over HTTP or TLS, keep-alive."""

    url: str
    ca_file: Path
    _status: str
    _looks: int = 0

    def requests(self) -> int:
        """Return how many requests of others it has answered so far, by its own count."""
        # The third number of stub_status' third line; each of these looks is one of them.
        self._looks += 1
        return int(get(self._status).splitlines()[2].split()[2]) - self._looks


_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_timeout 75s;
    client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
    uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
    server {{
        listen {host}:{port} {tls};
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
        default_type application/json;
        location ~ ^/api/v1/campaigns/([^/]+)/sftp$ {{
            add_header Cache-Control no-cache;
            add_header X-RateLimit-Limit 1000000;
            add_header X-RateLimit-Remaining 999999;
            return 200 '{answer}';
        }}
    }}
    server {{ listen {host}:{status}; location / {{ stub_status; }} }}
}}
"""

_ANSWER = (
    '{"success": true, "data": {"id": "config-of-$1", "campaign_id": "$1",'
    ' "host": "sftp.example.com", "port": 22, "username": "leads", "auth_type": "password",'
    ' "import_path": "/in", "export_path": "/out", "import_schedule": "daily", "is_enabled": true,'
    ' "last_test_at": "%s", "last_test_success": true,'
    ' "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}}'
)


@contextmanager
def nginx(folder: Path, tested_at: str, *, tls: bool = False) -> Iterator[NginxApi]:
    """Run nginx as the API; in every answer the last test was then, and passed."""
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert(HOST, "localhost")
    issued.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    port, status = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(
            folder=folder,
            host=HOST,
            port=port,
            status=status,
            tls="ssl" if tls else "",
            answer=_ANSWER % tested_at,
        )
    )
    with running(program("nginx"), "-p", folder, "-c", config) as process:
        process.listening(port)
        process.listening(status)
        scheme = "https" if tls else "http"
        url = f"{scheme}://localhost:{port}" if tls else f"{scheme}://{HOST}:{port}"
        yield NginxApi(url, folder / "ca.pem", f"http://{HOST}:{status}/")


def url_of(api: NginxApi, campaign: str) -> str:
    """Return where the API has the config of a campaign."""
    return f"{api.url}/api/v1/campaigns/{campaign}/sftp"


@contextmanager
def blackbox(folder: Path, api: NginxApi) -> Iterator[tuple[Program, str]]:
    """Run blackbox_exporter with a module that asks for what matters most; gives its URL, too."""
    probe = {
        "method": "GET",
        "headers": {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"},
        "valid_status_codes": [200],
        "fail_if_body_not_matches_regexp": ['"last_test_success": ?true', '"is_enabled": ?true'],
        "preferred_ip_protocol": "ip4",
        "tls_config": {"ca_file": str(api.ca_file)},
    }
    module = {"prober": "http", "timeout": "5s", "http": probe}
    config, port = folder / "blackbox.yml", free_port()
    config.write_text(yaml.safe_dump({"modules": {"sftp": module}}))
    command = (program("blackbox_exporter"), f"--config.file={config}")
    with running(*command, f"--web.listen-address={HOST}:{port}") as process:
        process.listening(port)
        yield process, f"http://{HOST}:{port}/probe?module=sftp"


@contextmanager
def prometheus(
    folder: Path, api: NginxApi, probe: str, campaigns: int, every: int
) -> Iterator[Program]:
    """Run a Prometheus that has blackbox_exporter probe each campaign, with an alert on failure."""
    address, port = probe.split("/")[2], free_port()
    job = {
        "job_name": "sftp",
        "metrics_path": "/probe",
        "params": {"module": ["sftp"]},
        "static_configs": [{"targets": [url_of(api, f"c-{n}") for n in range(campaigns)]}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": address},
        ],
    }
    alert = {
        "alert": "SftpTestFailed",
        "expr": "probe_success == 0",
        "labels": {"severity": "critical"},
        "annotations": {"summary": "{{ $labels.instance }} fails"},
    }
    rules, config = folder / "rules.yml", folder / "prometheus.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "sftp", "rules": [alert]}]}))
    timing = {"scrape_interval": f"{every}s", "evaluation_interval": f"{every}s"}
    config.write_text(
        yaml.safe_dump({"global": timing, "rule_files": [str(rules)], "scrape_configs": [job]})
    )
    command = (program("prometheus"), f"--config.file={config}")
    where = (f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={HOST}:{port}")
    with running(*command, *where) as process:
        process.listening(port)
        yield process
