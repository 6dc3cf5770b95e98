"""What DVC runs: a module per stage. A stage reads its sections of the spec, calls the library, writes one folder."""

from sfddm.runtime.machine import calm_threads
from stages.parent import die_with_parent

# Both before a stage's imports, which take seconds.
die_with_parent()
calm_threads()
