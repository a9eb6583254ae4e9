"""Takes what iterators give, errors included."""


def outcomes(results):
    """Take all results; what is raised takes its place."""
    taken = []
    while True:
        try:
            taken.append(next(results))
        except StopIteration:
            return taken
        except Exception as error:
            taken.append(error)
