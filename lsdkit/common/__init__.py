"""What every room needs: names of expressions, the 68 landmarks, files, paths, seeds, devices, signals."""
