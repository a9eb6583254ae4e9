"""Many items through a pool: the machine below `map`, `imap` and their kin.

The items travel in chunks. A `Feed` reads the input and sends the chunks, a
`Sizer` says how large they are, and what the user iterates over takes their
results in order.

Who drives the feed:

- Whoever iterates, while he waits, if reading the input runs code of the user's
  (a generator, a file): it is read in his thread.
- The notifier's thread, as chunks end, if the input was a list or the like, of
  which a copy was taken: nobody has to iterate.
- A thread of its own for `Pool.imap`, whose input `multiprocessing` reads in the
  background too.

How much of the input is taken ahead:

- A list or the like is accepted as a whole at once, as in the standard library,
  and sent as workers get free.
- Of anything else, what keeps the workers busy, and at most `LOOKAHEAD` items
  that nobody has taken the results of.
- With `buffersize`, as many items.

What was accepted is run, whoever forgets about it: where nobody has asked for
a result yet, dropping the iterator, `shutdown` and the interpreter's exit read
the rest of the input and send it. Once somebody iterates, it is up to him how
much of an input that is no copy is read: a `shutdown` ends it with an error in
the place of what was not read, for it may have no end. An iterator that is
closed, or dropped when begun, withdraws what has not begun. With `buffersize`
nothing is accepted before it is read.
"""
