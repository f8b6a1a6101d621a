"""The sender of webhooks: one signed POST a push, after the Standard Webhooks specification.

Guarantees: a request takes WITHIN_S seconds at most, and reads next to nothing of the answer; redirects
are not followed; neither the URL nor a key is shown in any error.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from backbone.clock import Clock
from notifier.senders import NotTaken, Push
from notifier.senders.signing import signed_headers

WITHIN_S = 10.0
# A receiver that says it is gone for good is asked again that much later, in case it was a mistake.
GONE_WAIT_S = 3600.0
LONGEST_WAIT_S = 3600.0
# A short answer is read so that its connection can be used again.
_ANSWER_BYTES = 16 * 1024
_ANSWER_WITHIN_S = 1.0


class WebhookSender:
    """Posts to one receiver."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        clock: Clock,
        *,
        within_s: float = WITHIN_S,
    ) -> None:
        """Each key signs: while keys are changed, the receiver knows one of them at least."""
        self._url = url
        self._keys = tuple(keys)
        self._clock = clock
        self._within_s = within_s
        self._client: httpx.AsyncClient | None = None

    async def send(self, push: Push) -> None:
        """See Sender."""
        body = push.json()
        now_s = self._clock.now_ms() // 1000
        headers = {
            "content-type": "application/json",
            "user-agent": "maeari-webhook/1",
            **signed_headers(push.push_id, now_s, body, self._keys),
        }
        try:
            async with asyncio.timeout(self._within_s):
                status, retry_after = await self._post(body, headers)
        except TimeoutError:
            raise NotTaken(f"no answer within {self._within_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotTaken(f"no answer: {type(error).__name__}") from None
        if 200 <= status < 300:
            return
        if status == 410:
            raise NotTaken("410: the receiver is gone", GONE_WAIT_S)
        raise NotTaken(f"the receiver answered {status}", _wait_s(retry_after, self._clock.now_ms()))

    async def close(self) -> None:
        """See Sender."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        """Return the status, and what the answer says of trying again."""
        if self._client is None:
            # Receivers get what is signed and nothing else: no cookies of theirs, which would pile up.
            jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._client = httpx.AsyncClient(follow_redirects=False, timeout=self._within_s, cookies=jar)
        async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
            length = 0
            # What the status says counts, however its text ends.
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    async for chunk in answer.aiter_raw():
                        length += len(chunk)
                        if length > _ANSWER_BYTES:
                            break
            return answer.status_code, answer.headers.get("retry-after")


def _wait_s(retry_after: str | None, now_ms: int) -> float | None:
    """Read the header Retry-After, a number of seconds or a date (RFC 9110); None for anything else."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text[:9])
    else:
        try:
            wait_s = parsedate_to_datetime(text).timestamp() - now_ms / 1000
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, wait_s), LONGEST_WAIT_S)
