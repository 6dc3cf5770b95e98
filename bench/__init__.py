"""Measurements of speed and cost: `python -m bench.NAME`. Nothing here decides a number in a result."""
