"""Documents that a provider answers with, as they are on the wire, which also show themselves in a notebook."""

from __future__ import annotations

from qpu_sdk.quotes import Quote
from qpu_sdk.wire.usage import MeteringRecord, UsageReport


class Usage(UsageReport):
    """What a tenant used, and what its quotas leave."""

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import usage_html  # noqa: PLC0415 - only when it is shown

        return usage_html(self)


class Metering(MeteringRecord):
    """What a job used and cost."""

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import metering_html  # noqa: PLC0415 - only when it is shown

        return metering_html(self)


class ShownQuote(Quote):
    """What a job, or all parts of a split one, would cost."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import quote_html  # noqa: PLC0415 - only when it is shown

        return quote_html(self.documents)
