"""The stand-in SFTP world: what breaks, what a test finds of it, and what stays on record."""

from collections.abc import Callable
from random import Random

import pytest

from monitor.demo.world import BLIPS, Answer, Login, Network, Server, SftpConfig, World

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
HOST = "sftp.customer.example"


@pytest.fixture
def world() -> World:
    """Return a world of one server, and of one campaign that imports from there."""
    world = World(servers={HOST: Server({"leads": "old word"})})
    world.create("leads-1", NOW, HOST, "leads", "old word")
    return world


def config(world: World) -> SftpConfig:
    return world.configs["leads-1"]


def run_test(world: World, now: float = NOW) -> Answer:
    return world.test("leads-1", now)


# -- What is broken, and what a test finds of it --------------------------------------------------


def rotated(world: World) -> None:
    world.server(HOST).passwords["leads"] = "new word"


def moved(world: World) -> None:
    world.move_host(HOST, "sftp2.customer.example")


def moved_and_left_a_server(world: World) -> None:
    world.move_host(HOST, "sftp2.customer.example", left=Network.REFUSING)


def closed(world: World) -> None:
    world.server(HOST).network = Network.CLOSED


def stopped(world: World) -> None:
    world.server(HOST).network = Network.REFUSING


def on_another_port(world: World) -> None:
    world.server(HOST).port = 2222


def without_a_way_out(world: World) -> None:
    world.has_way_out = False


def user_removed(world: World) -> None:
    del world.server(HOST).passwords["leads"]


BREAKS = pytest.mark.parametrize(
    ("happens", "cause"),
    [
        (rotated, "Authentication failed"),
        (user_removed, "Authentication failed"),
        (
            moved,
            "Could not resolve hostname sftp.customer.example: Name or service not known",
        ),
        (moved_and_left_a_server, "Connection refused"),
        (closed, "Connection timed out"),
        (stopped, "Connection refused"),
        (on_another_port, "Connection refused"),
        (without_a_way_out, "Connection timed out"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)


@BREAKS
def test_a_break_changes_nothing_on_record_until_a_test_finds_its_cause(
    world: World, happens: Callable[[World], None], cause: str
) -> None:
    assert run_test(world).passed
    config(world).is_enabled = True
    before = config(world).as_json()
    happens(world)
    assert config(world).as_json() == before
    assert world.trouble("leads-1") == cause
    found = run_test(world, NOW + 60.0)
    assert (found.passed, found.error) == (False, cause)
    assert config(world).as_json() == before | {
        "last_test_at": "2027-01-15T08:01:00Z",
        "last_test_success": False,
    }


@BREAKS
def test_to_ask_for_the_truth_leaves_no_trace(
    world: World, happens: Callable[[World], None], cause: str
) -> None:
    run_test(world)
    happens(world)
    world.trouble("leads-1")
    assert [line for server in world.servers.values() for line in server.log] == [
        Login(NOW, "leads", failed=False)
    ]
    assert config(world).last_test_success is True


def test_what_is_put_right_passes_again(world: World) -> None:
    rotated(world)
    assert not run_test(world).passed
    world.edit("leads-1", password="new word")
    assert world.trouble("leads-1") == ""
    assert run_test(world).passed


def test_a_moved_host_is_found_under_its_new_name_however_that_is_written(world: World) -> None:
    moved(world)
    world.edit("leads-1", host="SFTP2.Customer.example.")
    assert run_test(world).passed


# -- Folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "found"), [("/inbox", (False, True)), ("/outbox", (True, False))])
def test_a_test_passes_and_says_which_path_it_cannot_reach(
    world: World, path: str, found: tuple[bool, bool]
) -> None:
    world.server(HOST).removed.add(("leads", path))
    answer = run_test(world)
    assert answer.passed
    assert (answer.import_path, answer.export_path) == found
    assert config(world).last_test_success is True


def test_only_a_lost_import_folder_keeps_an_import_from_running(world: World) -> None:
    world.server(HOST).removed.add(("leads", "/outbox"))
    assert world.trouble("leads-1") == ""
    world.server(HOST).removed.add(("leads", "/inbox"))
    assert world.trouble("leads-1") == "No such file or directory: /inbox"


def test_a_folder_is_that_of_one_user(world: World) -> None:
    world.server(HOST).removed.add(("somebody else", "/inbox"))
    assert run_test(world).import_path is True


def test_of_a_path_that_is_not_set_nothing_is_found_and_it_is_said_to_be_well(
    world: World,
) -> None:
    world.edit("leads-1", export_path=None)
    answer = run_test(world)
    assert answer.export_path is None
    assert answer.as_json()["data"] == {
        "tested_at": "2027-01-15T08:00:00Z",
        "import_path_accessible": True,
        "export_path_accessible": True,
    }


# -- The server's own view ------------------------------------------------------------------------


def test_the_server_logs_every_login_and_nothing_of_what_never_reached_it(world: World) -> None:
    run_test(world, NOW)
    rotated(world)
    run_test(world, NOW + 1.5)
    closed(world)
    run_test(world, NOW + 2.0)
    assert world.server(HOST).log == [
        Login(NOW, "leads", failed=False),
        Login(NOW + 1.5, "leads", failed=True),
    ]


def test_campaigns_that_share_a_login_share_its_fate(world: World) -> None:
    world.create("leads-2", NOW, HOST, "leads", "old word")
    rotated(world)
    troubles = [world.trouble(key) for key in ("leads-1", "leads-2")]
    assert troubles == ["Authentication failed"] * 2


# -- The platform ---------------------------------------------------------------------------------


def test_a_new_config_is_off_and_cannot_be_switched_on_before_a_test_passed(world: World) -> None:
    assert config(world).as_json() == {
        "id": config(world).id,
        "campaign_id": "leads-1",
        "host": HOST,
        "port": 22,
        "username": "leads",
        "auth_type": "password",
        "import_path": "/inbox",
        "export_path": "/outbox",
        "import_schedule": "daily",
        "is_enabled": False,
        "last_test_at": None,
        "last_test_success": None,
        "created_at": "2027-01-15T08:00:00Z",
    }
    assert not world.switch("leads-1", on=True)
    run_test(world)
    assert not config(world).is_enabled
    assert world.switch("leads-1", on=True)
    assert config(world).is_enabled
    assert world.switch("leads-1", on=False)
    assert config(world).last_test_success is True


def test_a_config_that_is_deleted_and_made_anew_is_another(world: World) -> None:
    first = config(world).id
    del world.configs["leads-1"]
    with pytest.raises(KeyError):
        run_test(world)
    assert world.create("leads-1", NOW, HOST, "leads", "old word").id != first


def test_the_platform_may_switch_off_what_failed(world: World) -> None:
    run_test(world)
    world.switch("leads-1", on=True)
    world.switches_off = True
    run_test(world)
    assert config(world).is_enabled
    rotated(world)
    run_test(world)
    assert not config(world).is_enabled


@pytest.mark.parametrize("status", [404, 409, 429, 503])
def test_a_test_that_is_refused_is_none(world: World, status: int) -> None:
    world.refuses = status
    closed(world)
    before = config(world).as_json()
    assert world.takes("leads-1") < 1.0
    answer = run_test(world)
    assert (answer.status, answer.passed, answer.as_json()["success"]) == (status, False, False)
    assert config(world).as_json() == before
    assert world.server(HOST).log == []


def test_only_a_connection_that_is_dropped_takes_long(world: World) -> None:
    assert world.takes("leads-1") < 1.0
    closed(world)
    assert world.takes("leads-1") == world.connect_timeout


def test_the_answers_are_those_of_the_reference(world: World) -> None:
    assert run_test(world, NOW + 0.9).as_json() == {
        "success": True,
        "message": "SFTP connection successful",
        "data": {
            "tested_at": "2027-01-15T08:00:00Z",
            "import_path_accessible": True,
            "export_path_accessible": True,
        },
    }
    rotated(world)
    assert run_test(world).as_json() == {
        "success": False,
        "message": "SFTP connection failed",
        "data": {"tested_at": "2027-01-15T08:00:00Z", "error": "Authentication failed"},
    }


def test_what_is_answered_and_what_is_on_record_have_the_same_second(world: World) -> None:
    answer = run_test(world, NOW + 0.9)
    assert answer.at == config(world).last_test_at == NOW


# -- Chance ---------------------------------------------------------------------------------------


def run_of(seed: int) -> list[str]:
    world = World(Random(seed), servers={HOST: Server({"leads": "word"})}, blips=0.005)
    world.create("leads-1", NOW, HOST, "leads", "word")
    return [run_test(world, NOW + second).error for second in range(10_000)]


def test_a_share_of_tests_is_spoilt_by_what_is_no_login_and_no_break() -> None:
    spoilt = [error for error in run_of(1) if error]
    assert 25 <= len(spoilt) <= 75
    assert set(spoilt) == {blip.format(HOST) for blip in BLIPS}


def test_the_same_seed_gives_the_same_world() -> None:
    assert run_of(1) == run_of(1)
    assert run_of(1) != run_of(2)


def test_a_spoilt_test_never_reached_the_server(world: World) -> None:
    world.blips = 1.0
    assert not run_test(world).passed
    assert world.server(HOST).log == []
    assert world.trouble("leads-1") == ""
