"""What DVC runs: a module per stage. A stage reads its sections of the spec, calls the library, writes one folder."""

# Every Python that comes first on PATH parses this file, whatever its version: it tells those that can't run a stage.
import sys

if sys.version_info < (3, 11):
    problem = "is Python %d.%d: stages need 3.11 or newer" % sys.version_info[:2]
else:
    from importlib.util import find_spec

    needed = "attrs", "cattrs", "diffusers", "numpy", "safetensors", "torch"
    missing = [name for name in needed if find_spec(name) is None]
    problem = "has no %s, which stages need" % ", ".join(missing) if missing else ""
if problem:
    sys.stderr.write("error: %s %s.\n" % (sys.executable, problem))
    sys.stderr.write("Type `. .venv/bin/activate`, or `make setup` first if there is no .venv, and then try again.\n")
    sys.exit(2)

from sfddm.runtime.machine import calm_threads
from stages.parent import die_with_parent

# Both before a stage's imports, which take seconds.
die_with_parent()
calm_threads()
