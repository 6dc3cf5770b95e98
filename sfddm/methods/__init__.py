"""How students are made: a module per method with `distill(job) -> Distilled`, found by its kind in the spec."""
