"""What DVC runs: one module a stage. A stage reads its sections of the spec, calls the library, writes one folder."""

from sfddm.environment import calm_threads

calm_threads()
