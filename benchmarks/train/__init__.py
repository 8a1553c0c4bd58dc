"""A training step of `bioclim`'s three networks, and of torchvision's ResNet18 beside them (docs/benchmarks.md)."""
