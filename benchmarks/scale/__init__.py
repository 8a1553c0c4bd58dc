"""How cutting, embedding and forests grow with the number of chips; run by `make bench-scale`."""
