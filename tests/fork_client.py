"""What `python` is for DVC in tests: a stage of this very code is a fork of a process that has imported everything.

Anything else is the interpreter itself. Nothing is imported here that takes time.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = "SFDDM_TESTS_FORKS"
"""The variable with the socket where stages are asked for."""
REFUSED = b"no"
"""The answer where a fork would not compute as a process of its own."""
CODE = ("sfddm", "stages")
"""The packages whose code has to be the same in the folder where a stage is started."""


def main(interpreter: str, *arguments: str) -> None:
    """Have a stage forked and end as it does, or become the interpreter."""
    address = os.environ.get(ADDRESS)
    stage = arguments[:1] == ("-m",) and arguments[1].startswith("stages.") and os.environ.get("OMP_NUM_THREADS") == "1"
    if address and stage and dict(_code(ROOT)) == dict(_code(Path.cwd())):
        code = _forked(address, ["python", *arguments])
        if code is not None:
            _end_like(code)
    os.execv(interpreter, [interpreter, *arguments])


def _code(root: Path) -> Iterator[tuple[Path, bytes]]:
    for package in CODE:
        for path in (root / package).rglob("*.py"):
            yield path.relative_to(root), path.read_bytes()


def _forked(address: str, command: list[str]) -> int | None:
    """How a fork ended; None where there is none."""
    import json

    request = json.dumps({"folder": str(Path.cwd()), "command": command, "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [len(request).to_bytes(8)], [0, 1, 2])
        server.sendall(request)
        answer = server.recv(16)
    if not answer:
        sys.exit("the process that forks stages has ended")
    return None if answer == REFUSED else int(answer)


def _end_like(code: int) -> None:
    """End with an exit code, or by the signal that -`code` is."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
