"""How many small faults the fast tests notice: `python -m bench.mutation` (docs/mutation.md)."""
