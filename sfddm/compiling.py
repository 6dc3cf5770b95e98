"""When torch.compile can't: what it needs, and how to do without. Nothing here needs torch."""

from collections.abc import Iterator
from contextlib import contextmanager

from sfddm.errors import UserError

RAISED_BY = ("torch._dynamo.", "torch._inductor.")


@contextmanager
def compile_errors() -> Iterator[None]:
    """Turn what torch.compile raises within the block into an error that a user can act on.

    Raises:
        UserError: a network could not be compiled.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(RAISED_BY):
            raise
        raise UserError(
            f"torch.compile failed: {_reason(error)}\nIt needs a C++ compiler (g++, or what CXX names), on a "
            "GPU also triton, and Python's headers. Install them, or set compile: false in the spec's training section."
        ) from error


def _reason(error: Exception) -> str:
    """The first line that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
