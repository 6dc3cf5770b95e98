"""Errors that a user can cause and mend."""


class UserError(Exception):
    """What is wrong, where, and what to do; shown as it stands, without a traceback, with exit code 2."""


class SpecError(UserError):
    """One or more faults in a spec file, each with its place."""
