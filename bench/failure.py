"""What ends a measurement."""


class MeasurementFailed(Exception):
    """The measurement cannot go on, or found something wrong; the text is one line."""
