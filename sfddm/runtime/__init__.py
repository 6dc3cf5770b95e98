"""The machine: files, locks, processes, and which code is running. Nothing here decides a number."""
