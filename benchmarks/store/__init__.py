"""The chip store against GeoTIFF readers and a plain memory map, on the same pixels (docs/benchmarks.md)."""
