"""Students that are promoted: gates, aliases, and versions rebuilt from their commits."""
