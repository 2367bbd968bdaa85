"""Answers of a Redis server, however the network cuts them."""

import pytest

from migrator.stores.redis.replies import Answers, Malformed

WHOLE = (
    b"$5\r\na\r\nbc\r\n:-7\r\n$-1\r\n_\r\n+OK\r\n-WRONGTYPE it is a list\r\n*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n:2\r\n"
    b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n%1\r\n+a\r\n:1\r\n$0\r\n\r\n!4\r\nERR \r\n*-1\r\n:1\r\n"
)
READ = [b"a\r\nbc", -7, None, None, b"OK", "WRONGTYPE it is a list", [b"0", [b"a", 2]], [b"a", 1], b"", "ERR ", None]


def answers(text: bytes, piece: int) -> Answers:
    rest = [text]

    def receive(_: int) -> bytes:
        found, rest[0] = rest[0][:piece], rest[0][piece:]
        return found

    return Answers(receive, RuntimeError)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50, 1000])
def test_reads_answers_of_all_kinds_and_passes_over_news(piece: int) -> None:
    reader = answers(WHOLE, piece)

    found = [str(answer) if isinstance(answer, RuntimeError) else answer for answer in reader.read(len(READ))]

    assert found == READ
    assert reader.read(1) == [1]


@pytest.mark.parametrize("piece", [1, 2, 5, 1000])
def test_tells_whether_answers_are_as_expected(piece: int) -> None:
    expected = b"$3\r\nabc\r\n:12\r\n"

    assert answers(expected, piece).are(expected)
    for other in (b"$-1\r\n:-2\r\n", b"$3\r\nabd\r\n:12\r\n", b"$3\r\nabc\r\n:1\r\n", b"$2\r\nab\r\n:12\r\n"):
        reader = answers(other, piece)
        assert not reader.are(expected)
        assert len(reader.read(2)) == 2


@pytest.mark.parametrize("text", [b"", b"$5\r\nab"])
def test_says_that_the_connection_was_closed(text: bytes) -> None:
    with pytest.raises(ConnectionError):
        answers(text, 100).read(1)


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$abc\r\n",
        b"$-7\r\nabc\r\n",
        b"$99999999999\r\nabc",
        b"*x\r\n",
        b":twelve\r\n",
        b":" + b"1" * 10_000 + b"\r\n",
        b"*1\r\n" * 200_000,
        b"+" + b"x" * 1_000_000,
    ],
    ids=lambda text: repr(text[:16]),
)
def test_believes_nothing_that_is_no_answer(text: bytes) -> None:
    with pytest.raises(Malformed, match="does not answer like Redis"):
        answers(text, 4096).read(1)


def test_asks_the_network_for_no_more_than_it_could_give() -> None:
    asked = []

    def receive(size: int) -> bytes:
        asked.append(size)
        return b"$4000000000\r\nabc" if len(asked) == 1 else b""

    with pytest.raises(ConnectionError):
        Answers(receive, RuntimeError).read(1)
    assert max(asked) <= 16 * 1024 * 1024
