"""SFDDM: single-fold distillation of diffusion models, from one declarative spec."""
