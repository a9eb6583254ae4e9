"""plait's task groups and parallel calls, beside what else starts processes.

The rows are in `tasks/rows.py`.
"""

from tasks.command import main

if __name__ == "__main__":
    main()
