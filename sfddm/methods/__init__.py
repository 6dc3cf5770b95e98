"""How students are made: one file a method, each with `distill(job) -> Distilled`, found by the name in the spec."""
