"""What travels to a worker process and back.

Functions and classes of the user's `__main__` (script, prompt or notebook) have
a name that means nothing in a worker. They travel by value, each once per
worker, into one namespace there: the worker's own `__main__`. Once they are in
place everything else refers to them by name, as for any module:

- A *named* thing of `__main__` is pickled by its name wherever it appears, and
  the pickler notes that the name is needed.
- Each needed name travels as an **image**: its value, pickled without its
  surroundings. A function's globals are not part of it, they are further names.
- An image is sent again only when the parent has bound the name to another
  object. So what an initializer puts into a global stays there, and a helper
  that is defined anew in a notebook replaces the old one.
- Lambdas and inner functions have no name and travel by value within whatever
  holds them, their globals bound to the same namespace.
"""

from plait._pickling.failures import decode_result
from plait._pickling.inbound import Inbound
from plait._pickling.outbound import Call, Image, Outbound

__all__ = ["Call", "Image", "Inbound", "Outbound", "decode_result"]
