"""Students for programs that know nothing of this library: diffusers, torch.export, ONNX."""
