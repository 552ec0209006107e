"""Training: the loop and its tasks, a run and its folder, where branches start, evaluation, pre-training, cost."""
