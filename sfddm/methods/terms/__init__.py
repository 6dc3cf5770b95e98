"""The terms of a loss, a module per kind with its formula and source: `loss(term, at)` for what is `At` hand."""
