"""The event loop's Python half: what happens once in a while."""
