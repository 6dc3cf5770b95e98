"""Pictures for people: what a comparison says, drawn by matplotlib without a display."""
