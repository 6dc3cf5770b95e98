"""Measurements of speed and memory, apart from the tests: what they print depends on the machine."""
