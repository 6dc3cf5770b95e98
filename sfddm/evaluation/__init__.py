"""How good a student is: distance to real images, agreement with its teacher, time."""
