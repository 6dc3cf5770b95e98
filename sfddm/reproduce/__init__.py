"""Rebuilding a registered version from what it carries with it and from git, and saying whether that gave the same."""
