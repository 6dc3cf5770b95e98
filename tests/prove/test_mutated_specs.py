"""Ten thousand damaged specs: each is refused with its place, or is a valid spec. About 20 minutes."""

import os
from pathlib import Path

import pytest

from tests.mutations import try_mutations

pytestmark = pytest.mark.prove


def test_every_mutation_is_refused_with_its_place_or_valid(tmp_path: Path) -> None:
    count = int(os.environ.get("SFDDM_MUTATIONS", "10000"))
    outcomes = try_mutations(count, tmp_path)
    refused, valid = outcomes["refused"], outcomes["valid"]
    print(f"\n{outcomes.total()} mutations of specs: {refused} refused with their place, {valid} valid")
    assert outcomes.total() >= count and min(refused, valid) > 0
