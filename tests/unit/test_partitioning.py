"""Which partition a key belongs to: the same as Java's client and kafkajs choose.

The vectors in `golden/murmur2.json` were made with the Java client of Kafka 4.3.1 (`Utils.murmur2`, as an
unsigned number, and `BuiltInPartitioner.partitionForKey`, over the UTF-8 of the key), and kafkajs 2.2.4
(`Partitioners.DefaultPartitioner`) gave the same for each key and number of partitions.
"""

from pathlib import Path

import msgspec
import pytest

from schemas.topics import murmur2, partition_of


class Vector(msgspec.Struct, frozen=True):
    key: str
    murmur2: int
    partitions: dict[int, int]


VECTORS = msgspec.json.decode(
    (Path(__file__).parent.parent / "golden" / "murmur2.json").read_bytes(), type=list[Vector]
)


def test_the_vectors_cover_what_keys_are_made_of() -> None:
    """There are short keys of every length, Korean ones, emoji, and keys as long as they may be."""
    keys = [vector.key for vector in VECTORS]
    assert len(set(keys)) == len(keys) >= 40
    assert set(range(9)) <= {len(key) for key in keys if key.isascii()}
    assert {"", "일반", "ㅋㅋㅋ", "\u1100\u1161", "👨‍👩‍👧‍👦", "가" * 128} <= set(keys)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: ascii(vector.key)[:24])
def test_hash_and_partition_are_those_of_the_java_client(vector: Vector) -> None:
    """Given a key, its hash and its partition among so many are Java's."""
    assert murmur2(vector.key.encode()) == vector.murmur2
    assert {n: partition_of(vector.key, n) for n in vector.partitions} == vector.partitions
