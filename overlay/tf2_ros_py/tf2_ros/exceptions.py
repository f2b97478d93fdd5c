# SPDX-License-Identifier: Apache-2.0
"""Errors of looking up and storing transforms; names as in tf2."""


class TransformException(Exception):
    """Base class of all tf2 errors."""


class LookupException(TransformException):
    """A frame does not exist."""


class ConnectivityException(TransformException):
    """Both frames exist, but no chain of transforms connects them."""


class ExtrapolationException(TransformException):
    """The chain exists, but has no data at the requested time."""


class InvalidArgumentException(TransformException):
    """A frame name or a transform is invalid."""
