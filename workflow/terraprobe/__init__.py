"""Places on Earth to Sentinel chips, encoders, embeddings, and what they know about land cover."""
