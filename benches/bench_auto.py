"""What `on="auto"` costs beside the method that it chooses, taken directly.

The rows are in `automatic/rows.py`.
"""

from automatic.command import main

if __name__ == "__main__":
    main()
