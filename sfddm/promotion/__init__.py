"""Which student an alias of a registered model names: the gates, and the file that remembers every decision."""
