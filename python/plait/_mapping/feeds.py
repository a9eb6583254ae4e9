"""The maps that still feed a pool."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait._mapping.feed import Feed

__all__ = ["Feeds"]


class Feeds:
    """Those whose input has not been read to its end, and the pool that waits for them."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._feeds: set[Feed] = set()
        self._closing = False

    def close_pool(self) -> None:
        """Have the pool take no more tasks."""
        raise NotImplementedError

    def add_feed(self, feed: "Feed") -> None:
        """Have the end of the pool wait for a map."""
        self._feeds.add(feed)

    def remove_feed(self, feed: "Feed") -> None:
        """Note that all of a map's input has been read."""
        self._feeds.discard(feed)
        if self._closing and not self._feeds:
            self.close_pool()

    @property
    def has_feeds(self) -> bool:
        """Whether there is a map whose input has not been read to its end."""
        return bool(self._feeds)

    def close_later(self) -> None:
        """Take no more tasks once all maps have been read, by whoever reads them."""
        # Set before it looks: who removes the last feed looks in the other order. If
        # both find that there is none, the second close changes nothing. No lock: a
        # map may be dropped in a signal handler, or by the collector.
        self._closing = True
        feeds = list(self._feeds)
        for feed in feeds:
            feed.drain()
        if not feeds:
            self.close_pool()

    def abandon_feeds(self, cancelled: bool = False) -> None:
        """Read no more of the input of any map.

        Args:
            cancelled: whether what was not read counts as cancelled.

        """
        for feed in list(self._feeds):
            feed.give_up(cancelled)
