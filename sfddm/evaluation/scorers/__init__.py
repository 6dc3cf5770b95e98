"""Scorers: networks in whose features images are judged, a module per kind."""
