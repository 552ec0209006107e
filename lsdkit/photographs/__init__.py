"""The benchmark: networks and regressions that saw rendered faces alone, scored on photographs."""
