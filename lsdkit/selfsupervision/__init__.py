"""Self-supervision on faces: DINO trains a backbone without labels, and what comes out is a source of weights."""
