"""The served process of `wim annotate`, and a visitor of its page."""

import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).parents[1]


class Visitor:
    """Speaks to a served page as the page's own script does."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self.host = parts.netloc
        self.http = http.client.HTTPConnection(self.host, timeout=30)
        page, headers = self.get(link.removeprefix(f"http://{self.host}"))
        self.cookie = headers["set-cookie"].partition(";")[0]
        self.csrf = re.search(r'name="csrf" content="([^"]+)"', page)[1]

    def get(self, path: str) -> tuple[str, Any]:
        self.http.request("GET", path, headers={"Cookie": getattr(self, "cookie", "")})
        response = self.http.getresponse()
        return response.read().decode(), response.headers

    def item(self, name: str, place: int | str = "next") -> dict[str, Any]:
        told, _ = self.get(f"/api/item?{urlencode({'annotator': name, 'place': place})}")
        return json.loads(told)

    def post(self, path: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf, "Origin": f"http://{self.host}"}
        self.http.request("POST", path, json.dumps(fields), headers | {"Content-Type": "application/json"})
        response = self.http.getresponse()
        return response.status, json.loads(response.read())


class Served:
    """`wim annotate RUN` as a process of its own; killed when the block ends."""

    def __init__(self, run: Path, *more: str) -> None:
        command = [sys.executable, "-m", "builder.cli", "annotate", str(run), "--port", "0", *more]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=run, env=environment, stderr=subprocess.PIPE, text=True)
        self.link = next((line.split()[1] for line in self._said() if line.startswith("open http")), "")
        assert self.link

    def _said(self) -> Any:
        assert self.process.stderr
        return self.process.stderr

    def kill(self) -> None:
        """As by kill -9."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
