"""Data sets, a module per kind: `load(data)` gives the streams of a section's splits."""
