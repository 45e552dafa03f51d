"""What the command line costs: `python benchmarks/cli.py`. CPU time of a whole process beyond that of a bare Python,
best of some runs, with compiled bytecode as an installed program has it.

| figure | bound |
|---|---|
| `p2pstore --help` | 60 ms |
| a verb that asks the daemon | 60 ms |
| Tab on a path | 60 ms |
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RUNS = 15
BOUND_MS = 60
CLI = ["-m", "p2pstore.cli"]
VERBS = {
    "help": ["--help"],
    "verb_help": ["put", "--help"],
    "status": ["status"],
    "status_json": ["--json", "status"],
    "ls_200": ["ls", "-l", "/"],
    "safe": ["safe"],
    "cat": ["cat", "/0"],
    "without_daemon": ["--home", "/nonexistent", "status"],
}


def _cpu_ms(arguments: Sequence[str], environ: Mapping[str, str]) -> float:
    """The least CPU time of a process of its own."""
    best = float("inf")
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env=environ, check=False, cwd=ROOT)  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * best


def main() -> None:
    """Measure against a daemon with a folder of 200 files, and say what is over its bound."""
    from tests.control.fake_daemon import FakeDaemon, Node, serving

    folder = Path(tempfile.mkdtemp(prefix="p2p-"))
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
               "P2PSTORE_HOME": str(folder / "home")}  # fmt: skip
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    daemon = FakeDaemon()
    daemon.tree |= {b"/%d" % number: Node("file", b"x") for number in range(200)}
    tab = {**environ, "COMP_WORDS": "p2pstore ls /1", "COMP_CWORD": "/1", "_P2PSTORE_COMPLETE": "fish_complete"}
    try:
        with serving(daemon.handlers(), folder / "home"):
            bare = _cpu_ms(["-c", "pass"], environ)
            figures = {name: _cpu_ms([*CLI, *words], environ) - bare for name, words in VERBS.items()}
            figures["tab_on_a_path"] = _cpu_ms(CLI, tab) - bare
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"bare_python_ms": round(bare), **{name: round(ms) for name, ms in figures.items()}}, indent=2))
    over = [f"{name} {ms:.0f} > {BOUND_MS}" for name, ms in figures.items() if ms > BOUND_MS]
    print("over: " + "; ".join(over) if over else "all within bounds")
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
