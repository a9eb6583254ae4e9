"""Is the choice right? What is chosen beside what is fastest: see docs/benchmarks.md."""

from choice.command import main

if __name__ == "__main__":
    main()
