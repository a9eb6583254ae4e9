"""Groups of tasks and calls in parallel, and what is measured of them."""
