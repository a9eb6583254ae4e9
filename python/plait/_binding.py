"""The one place that imports the native module."""

from plait import _native as native

__all__ = ["native"]
