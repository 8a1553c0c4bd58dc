"""What embeddings know: probes on frozen features."""
