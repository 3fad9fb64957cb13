"""Models that leave the project: written as ONNX, TorchScript or torch.export, proven equal, and read back."""
