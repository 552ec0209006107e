"""Published weights: what sets there are, how their files are read, and every key accounted for."""
