"""Teachers that others trained: found, read, checked against the spec, and tried on the spec's own images."""
