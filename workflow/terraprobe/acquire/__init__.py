"""From the outside world to files: raw tiles, each whole, checked and recorded."""
