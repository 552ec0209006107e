"""Faces and where they come from: read, annotated and written as stores, which are opened, combined and audited."""
