"""What runs in the processes of a pool: the template and the workers.

Nothing here imports an engine or anything large: what the template imports,
the first result waits for.
"""
