"""The API of one environment, as far as polling needs it."""

from typing import Protocol

from monitor.core.model import Answer, ListingAnswer


class Api(Protocol):
    """The API of one environment, as far as a poller needs it."""

    async def fetch_sftp(self, campaign_id: str) -> Answer:
        """Return the answer for one campaign's SFTP config; a failure is an answer, too."""

    async def fetch_campaigns(self, page: int) -> ListingAnswer:
        """Return the answer for a page of the listing of all campaigns, from 1; likewise."""

    def set_token(self, token: str) -> None:
        """Use this token from the next request on."""

    async def aclose(self) -> None:
        """Close the connections."""
