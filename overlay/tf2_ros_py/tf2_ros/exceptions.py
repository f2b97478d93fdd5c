# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when a transform is asked for or stored; names as in tf2."""


class TransformException(Exception):
    """Any failure of the transform tree."""


class LookupException(TransformException):
    """A frame that nobody has ever published."""


class ConnectivityException(TransformException):
    """Both frames are known, but no chain of transforms joins them."""


class ExtrapolationException(TransformException):
    """The chain is known, but not at the time asked for."""


class InvalidArgumentException(TransformException):
    """A frame name or a transform that means nothing."""
