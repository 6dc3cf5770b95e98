"""Measurements of speed, memory and cost: `python -m bench.NAME`. They depend on the machine and decide no result."""
