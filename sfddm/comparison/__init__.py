"""Two or more finished students beside each other, wherever their results lie."""
