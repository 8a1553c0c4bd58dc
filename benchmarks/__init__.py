"""Measurements of terraprobe against its peers; no job imports them."""
