"""From a photograph to an answer: faces found, cut out and read, one photograph or many; see docs/photographs.md."""
