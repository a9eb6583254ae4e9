"""Where the tasks of `plait.submit` and of task groups run: one file for each place."""
