"""kubectl, Kubernetes' own command line: the one way in which Swapstream speaks to a cluster. It knows who one is, and where."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

from swapstream.models.errors import ClusterError

SCHEME = "kubernetes"


class Kubectl:
    """kubectl in a namespace of its current context. Every method raises ClusterError with the line that kubectl gives."""

    def __init__(self, url: str) -> None:
        """`url`: kubernetes://NAMESPACE."""
        self.namespace = urlsplit(url).netloc

    def arguments(self, *arguments: str) -> list[str]:
        """The command, as it could be typed."""
        return ["kubectl", "--namespace", self.namespace, *arguments]

    def apply(self, manifests: str) -> None:
        self._run("apply", "-f", "-", given=manifests)

    def delete(self, kinds: str, labels: dict[str, str], seconds: float) -> None:
        """Delete what has the labels, and wait until it is gone."""
        self._run("delete", kinds, "-l", selector(labels), "--ignore-not-found", f"--timeout={seconds:.0f}s", seconds=seconds + 10)

    def items(self, kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """Every resource of a kind that has the labels."""
        return list(json.loads(self._run("get", kind, "-l", selector(labels), "-o", "json"))["items"])

    def ask(self, service: str, path: str, method: str, body: str | None, seconds: float) -> Any:
        """An HTTP request to a service, GET or POST, by way of the cluster's API server. The answer is JSON."""
        whole = f"/api/v1/namespaces/{self.namespace}/services/{service}/proxy{path}"
        verbs = {"GET": ("get", "--raw", whole), "POST": ("create", "--raw", whole, "-f", "-")}
        return json.loads(self._run(*verbs[method], given=body, seconds=seconds) or "{}")

    def _run(self, *arguments: str, given: str | None = None, seconds: float = 30.0) -> str:
        command = self.arguments(*arguments)
        try:
            done = subprocess.run(command, input=given or "", capture_output=True, text=True, timeout=seconds, check=False)
        except FileNotFoundError as error:
            raise ClusterError("kubectl is not on PATH: install it, or print what it would apply with `swapstream submit "
                               "--manifest`") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"kubectl {arguments[0]}: {error}") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it printed nothing"]
            raise ClusterError(f"kubectl {arguments[0]} in namespace {self.namespace}: {lines[-1].strip()}")
        return done.stdout


def selector(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())
