"""What git says of the repository, and a commit of it in a folder of its own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sfddm.errors import UserError


def git(*arguments: str) -> str:
    """What a git command prints.

    Raises:
        UserError: git is not installed, or refuses.
    """
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("git is not installed: versions are promoted and rebuilt from its commits.") from None
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise UserError(f"git {arguments[0]}: {reason}")
    return done.stdout


def head() -> str | None:
    """The present commit; None where there is none yet, or no git."""
    try:
        return git("rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    except UserError:
        return None


def in_history(commit: str) -> bool:
    """Whether the present commit comes from this one, so that whoever has the one has the other."""
    try:
        git("merge-base", "--is-ancestor", commit, "HEAD")
    except UserError:
        return False
    return True


def uncommitted(paths: Sequence[str]) -> list[str]:
    """Which files at or below `paths` are not as the present commit has them, new ones included.

    Raises:
        UserError: this is no git repository.
    """
    listed = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths)
    return sorted({entry[3:] for entry in listed.split("\0") if entry})


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A commit checked out in a temporary folder, which is gone when the block ends.

    Raises:
        UserError: this clone has no such commit.
    """
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}")
    except UserError:
        raise UserError(
            f"this clone has no commit {commit}: `git fetch --all` where it was pushed, then try again. If it is gone, "
            "amended or rebased, promote the run again: that notes the present commit."
        ) from None
    git("worktree", "prune")  # what killed processes left
    folder = Path(tempfile.mkdtemp(prefix="sfddm-")).resolve()
    try:
        git("worktree", "add", "--quiet", "--detach", str(folder / "tree"), commit)
        yield folder / "tree"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        git("worktree", "prune")
