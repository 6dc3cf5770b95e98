"""Networks: diffusers' own, adapted in one place, stored in one format."""
