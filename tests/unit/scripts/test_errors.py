"""Every command with wrong input: one line that names the thing, an exit code, no stack trace. No cluster runs."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from swapstream.models import errors
from swapstream.models.errors import SwapstreamError
from swapstream.scripts.environment import ROOT
from swapstream.scripts.main import INTERNAL, cli
from swapstream.scripts.ports import free_ports

PLANS = ["plan check {}", "plan show {}", "plan diff {} plain.yaml", "try {} data.csv", "train zscore data.csv --name m --plan {}",
         "pack text.onnx --sample sample.npy --plan {}", "submit detect --plan {}", "submit detect --dry-run --plan {}", "swap --plan {}"]
SCHEMAS = ["train zscore data.csv --name m --schema {}", "feed data.csv --schema {}", "simulate --out x.parquet --count 5 --schema {}"]
TELEMETRY = ["train zscore {} --name m --schema schema.yaml", "feed {} --schema schema.yaml", "try plain.yaml {}"]
YAML = {"missing.yaml": "no such file", "empty.yaml": "empty", "folder.yaml": "is a directory", "list.yaml": "holds a list"}
FILES = {"missing.csv": "no such file", "folder.csv": "is a directory", "empty.csv": "empty.csv", "header.csv": "no rows",
         "latin.csv": "utf-8", "text": "must end in", "empty.parquet": "empty.parquet", "csv.parquet": "csv.parquet"}
SAMPLES = {"missing.npy": "missing.npy", "folder": "folder", "text.npy": "text.npy", "pickle.npy": "pickle.npy", "flat.npy": "(5,)"}
NO_CLUSTER = ["topics", "anomalies --no-follow", "scores --no-follow", "anomalies", "feed data.csv --schema schema.yaml",
              "simulate --count 5", "submit detect --plan plain.yaml", "swap --plan plain.yaml", "keys list", "keys trust"]
OTHERS = {
    "keys new ../x": "../x", "keys trust ../x": "../x", "keys trust nobody": "nobody", "keys trust a --public missing.pub": "missing.pub",
    "keys trust a --public text": "text", "keys trust --public text": "NAME", "keys revoke": "KEY",
    "models show nope": "nope", "models show :": "", "models show ../x": "../x", "push nope": "nope", "push nope:9": "nope",
    "train nope data.csv --name m --schema schema.yaml": "nope", "train zscore data.csv --name m": "--schema",
    "train zscore data.csv --name UP/x --schema schema.yaml": "UP/x",
    "train zscore data.csv --name m --schema nope": "nope", "train zscore data.csv --name m --schema schema.yaml --option x": "key=value",
    "train zscore data.csv --name m --schema schema.yaml --option depth=3": "depth",
    "train zscore data.csv --name m --schema schema.yaml --extractor nope": "nope",
    "train zscore data.csv --name m --schema schema.yaml --extractor ewm(halflife=": "ewm",
    "train zscore data.csv --name m --schema schema.yaml --extractor ewm(halflife=-1)": "halflife",
    "train zscore data.csv --name m --schema schema.yaml --alarm-rate 2": "--alarm-rate",
    "train zscore data.csv --name m --schema schema.yaml --time nope": "nope",
    "train zscore data.csv --name m --schema schema.yaml --fields a": "a",
    "train zscore data.csv --name m --schema schema.yaml --start-time yesterday": "yesterday",
    "pack missing.onnx --sample sample.npy": "missing.onnx", "pack folder --sample sample.npy": "folder",
    "pack text.onnx --sample sample.npy": "text.onnx",
    "simulate --rate 0": "--count", "simulate --faults nope --out x.parquet": "nope", "simulate --out folder --count 5": "folder",
    "simulate --out nowhere/x.parquet --count 5": "nowhere", "simulate --out x.parquet --count 5 --bad 3": "--bad",
    "simulate --out x.parquet --start-time nope": "nope", "cancel nope": "nope", "cancel ../x": "../x",
    "submit detect --plan plain.yaml --deployment a/b": "a/b", "submit detect --plan plain.yaml --parallelism 0": "--parallelism",
    "submit detect --plan plain.yaml --from nope": "nope", "submit detect --plan plain.yaml --from latest": "latest",
    "submit nope --plan plain.yaml": "nope", "swap --plan plain.yaml --timeout x": "--timeout",
    "--environment nope status": "nope", "--environment folder.yaml status": "folder.yaml", "--environment empty.yaml status": "empty",
    "--environment list.yaml status": "list", "--environment data.csv status": "data.csv", "frobnicate": "frobnicate",
}
CASES = {
    **{command.format(file): said for command in PLANS + SCHEMAS for file, said in YAML.items()},
    **{command.format(file): said for command in TELEMETRY for file, said in FILES.items()},
    **{f"pack text.onnx --sample {file}": said for file, said in SAMPLES.items()},
    **dict.fromkeys(NO_CLUSTER, "swapstream up"),
    **OTHERS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every bad kind, some good ones, and an environment in which nothing runs."""
    found = tmp_path_factory.mktemp("errors")
    broker, controller, rest = free_ports(3)
    texts = {
        "env.yaml": f"directory: {found}/run\nbroker: {{port: {broker}, controller_port: {controller}}}\nflink: {{rest_port: {rest}}}\n",
        "schema.yaml": "fields: [a, b]\n", "plain.yaml": "name: p\nschema: schema.yaml\n", "empty.yaml": "", "list.yaml": "[a, b]\n",
        "data.csv": "time,device,a,b\n" + "".join(f"{i},d,{i % 7},{i % 5}\n" for i in range(100)), "empty.csv": "",
        "header.csv": "time,device,a,b\n", "text": "text", "empty.parquet": "", "csv.parquet": "a,b\n1,2\n", "text.onnx": "text",
        "text.npy": "text",
    }
    for name, text in texts.items():
        (found / name).write_text(text)
    for name in ("folder", "folder.yaml", "folder.csv"):
        (found / name).mkdir()
    (found / "latin.csv").write_bytes("time,device,a,b\n1,café,1,2\n".encode("latin-1"))
    (found / "pickle.npy").write_bytes(pickle.dumps([1]))
    np.save(found / "sample.npy", np.random.default_rng(0).normal(size=(50, 2)))
    np.save(found / "flat.npy", np.zeros(5))
    return found


@pytest.mark.parametrize(("line", "said"), CASES.items(), ids=list(CASES))
def test_wrong_input_is_one_line(folder, monkeypatch, line, said):
    monkeypatch.chdir(folder)
    arguments = line.split() if line.startswith("--environment") else ["--environment", "env.yaml", *line.split()]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    error = done.exception
    assert isinstance(error, SwapstreamError | click.UsageError), f"{error!r} {done.output}"
    message = error.format_message() if isinstance(error, click.UsageError) else str(error)
    assert said in message
    assert "\n" not in message.strip()
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_status_of_no_cluster_says_how_to_start_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(cli, ["--environment", "env.yaml", "status"])
    assert (done.exit_code, "swapstream up" in done.output) == (6, True)


def test_every_exit_code_is_explained_in_the_help_and_the_readme():
    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, SwapstreamError)}
    help_text = " ".join(CliRunner().invoke(cli, ["--help"]).output.split())
    readme = " ".join((ROOT / "scripts" / "README.md").read_text().split())
    for where in (help_text.partition("exit code ")[2], readme.partition("Exit codes: 0; ")[2]):
        explained = {int(code) for code in re.findall(r"\b(\d+) (?:for )?[a-z]", where.partition(".")[0])}
        assert codes | {INTERNAL} <= explained


@pytest.mark.parametrize(("line", "code", "said"), [
    ("plan check missing.yaml", 3, "swapstream: plan 'missing.yaml': no such file\n"),
    ("plan check", 2, "swapstream: Missing argument 'PATH'. (see `swapstream plan check --help`)\n"),
    ("simulate --count 5 --out nowhere/x.parquet", 2, None),
])
def test_the_command_itself_prints_the_line_and_exits(folder, line, code, said):
    command = Path(sys.executable).with_name("swapstream")
    done = subprocess.run([command, *line.split()], cwd=folder, env=os.environ | {"SWAPSTREAM_ENV": "env.yaml"},
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert said is None or done.stderr == said
