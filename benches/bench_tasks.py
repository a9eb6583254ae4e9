"""plait's task groups and parallel calls, beside what else starts processes.

The rows are in `task_model/rows.py`.
"""

from task_model.command import main

if __name__ == "__main__":
    main()
