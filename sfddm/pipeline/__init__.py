"""What DVC and git know of an experiment: its runs, its files, its code, its results."""
