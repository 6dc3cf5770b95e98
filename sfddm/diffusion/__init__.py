"""The mathematics: pure functions in the paper's symbols, on tensors whose shapes the docstrings give."""
