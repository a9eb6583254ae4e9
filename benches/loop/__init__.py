"""plait's event loop beside its peers: servers under load, and callbacks."""
