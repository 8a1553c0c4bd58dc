"""Pretraining methods, one file each."""
