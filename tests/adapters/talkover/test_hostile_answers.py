"""Whatever is on the wire, something definite comes of it; the long form: `make torture`."""

from hypothesis import HealthCheck, example, given, settings

from support.hostile_answers import Hostile, answers, check

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(answers())
@example(Hostile(HEAD + 999 * (b"X: " + b"a" * 60_000 + b"\r\n") + b"\r\n{}", meant=False))
@example(Hostile(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 9_999 * b"1\r\n \r\n", meant=False))
@example(Hostile(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000 + HEAD + b"\r\n", meant=False))
@example(Hostile(b"a" * 2_000_000, meant=False))
def test_any_bytes_give_an_observation_or_an_error_with_a_reason(hostile: Hostile) -> None:
    check(hostile)
