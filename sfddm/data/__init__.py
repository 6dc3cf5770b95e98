"""Data sets: read from their sources, split, and kept as plain uint8 arrays."""
