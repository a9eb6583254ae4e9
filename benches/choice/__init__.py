"""Functions of many kinds, where each is fastest, and what plait chooses for it."""
