"""The thread pool, its peers, and what is measured of them."""
