"""The providers that compute: service, service-port, dns, route, environment."""
import json

import pytest

from mayfly import Provider, provider_call

WORKLOADS = {
    "api": {"ports": {"http": {"port": 80, "target_port": 8080, "protocol": "TCP"},
                      "admin": {"port": 9000, "target_port": 9001, "protocol": "TCP"}}, "public": True},
    "web": {"ports": {"80": {"port": 81, "target_port": 3000, "protocol": "TCP"}}, "public": True},
    "worker": {"ports": {}, "public": False},
}


@pytest.fixture
def address(tmp_path):
    provider = Provider("address", tmp_path / "state")
    provider.environment["workloads"] = WORKLOADS
    return provider


def outputs(provider, kind, **params):
    return provider.ask("provision", provider.resource(kind, params))["outputs"]


def refusal(provider, kind, **params):
    error = provider.fails("provision", provider.resource(kind, params))
    assert error["class"] == "invalid"
    return error["message"]


def test_service_names_its_workload(address):
    assert outputs(address, "service", workload="api") == {"name": "api", "hostname": "api"}
    resource = address.resource("service", id="shop.web")
    assert address.ask("provision", resource)["outputs"]["name"] == "web"
    assert "did you mean 'api'" in refusal(address, "service", workload="apii")


@pytest.mark.parametrize("workload, port, target", [
    ("api", "http", 8080), ("api", "80", 8080), ("api", 80, 8080), ("api", "admin", 9001),
    ("web", "80", 3000), ("web", "81", 3000), ("web", 81, 3000)])
def test_service_port_is_the_target_port(address, workload, port, target):
    found = outputs(address, "service-port", workload=workload, port=port)
    assert found == {"hostname": workload, "port": target}


@pytest.mark.parametrize("workload, port, word", [
    ("api", "htp", "did you mean 'http'"), ("api", 8080, "there are: 'http', 'admin'"),
    ("worker", "http", "there are: none"), ("nowhere", "http", "no workload 'nowhere'"),
    ("api", "0", "no port"), ("api", "080", "no port"), ("api", "-1", "no port"),
    ("api", None, "no port"), ("api", [], "no port"), ("api", 2**40, "no port"),
    (7, "http", "workload must be a text")])
def test_service_port_refuses(address, workload, port, word):
    assert word in refusal(address, "service-port", workload=workload, port=port)


def test_params_are_strict(address):
    assert "did you mean 'port'" in refusal(address, "service-port", workload="api", prot="http")
    assert "params.port is missing" in refusal(address, "service-port", workload="api")
    assert "is not known" in refusal(address, "dns", zone="x")


def test_dns_gives_the_environments_own_host(address):
    assert outputs(address, "dns") == {"host": "main--shop.preview.localhost",
                                       "url": "http://main--shop.preview.localhost:8150"}


@pytest.mark.parametrize("given, path", [
    ("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/a/b%20c", "/a/b%20c"), (None, "/")])
def test_route_paths(address, given, path):
    params = {"workload": "api", "port": 80, **({"path": given} if given else {})}
    assert outputs(address, "route", **params) == {
        "host": "main--shop.preview.localhost", "path": path, "workload": "api", "port": 8080}


@pytest.mark.parametrize("path", [
    "", "api", "/my/[^/]+/path", "/a b", "/a//b", "/../x", "/a/..", "/a/./b", "/a?b", "/a#b", "/\u00e4",
    "/a\nb", "/" + "x" * 2000])
def test_route_refuses_paths(address, path):
    assert "path" in refusal(address, "route", workload="api", port=80, path=path)


def test_route_hosts(address):
    own = "main--shop.preview.localhost"
    for host in ("", own):
        assert outputs(address, "route", workload="api", port="http", host=host)["host"] == own
    message = refusal(address, "route", workload="api", port="http", host="bank.example.com")
    assert own in message and "bank.example.com" in message


def test_nothing_is_in_the_world(address):
    resource = address.resource("dns")
    assert address.ask("inspect", resource)["present"] == "absent"
    resource["state"] = address.ask("provision", resource)["state"]
    found = address.ask("inspect", resource)
    assert (found["present"], found["marker"], found["ready"]) == ("present", resource["marker"], True)
    assert address.items() == {}
    assert address.ask("deprovision", resource) == {"removed": [], "absent": []}
    resource["state"] = {"marker": "another/one/r1"}
    assert address.fails("deprovision", resource)["class"] == "conflict"
    assert list(address.state_dir.iterdir()) == []


def test_environment_values_are_all_secret(tmp_path):
    provider = Provider("environment", tmp_path / "state")
    provider.environment["values"] = {"TOKEN": "s3cret", "LEVEL": "debug"}
    result = provider.ask("provision", provider.resource("environment"))
    assert result["outputs"] == {"TOKEN": "s3cret", "LEVEL": "debug"}
    assert sorted(result["secret"]) == ["LEVEL", "TOKEN"]
    assert "s3cret" not in json.dumps(result["state"])
    provider.environment["values"] = {"TOKEN": 7}
    assert "TOKEN" in provider.fails("provision", provider.resource("environment"))["message"]


def test_form_of_requests(address):
    """What is wrong with a request is answered, never acted upon, with exit status 0."""
    good = address.request("provision", address.resource("dns"))
    other = json.loads(json.dumps(good))
    other["resource"]["marker"] = "i0/e0/" + good["resource"]["uid"]
    cases = {
        b"": "not JSON", b"{": "not JSON", b"[]": "not an object", b"\xff\xfe": "not JSON",
        b'{"a":1,"a":2}': "duplicate", b"[" * 100000: "not JSON",
        json.dumps({**good, "protocol": 2}): "protocol 1", json.dumps({**good, "verb": "explode"}): "verb",
        json.dumps({**good, "verb": 7}): "verb", json.dumps({**good, "config": None}): "config",
        json.dumps({**good, "config": {}}): "installation", json.dumps({**good, "environment": []}):
        "environment", json.dumps({**good, "resource": None}): "resource",
        json.dumps({**good, "deadline_ms": -1}): "deadline_ms", json.dumps(other): "marker",
        json.dumps({**good, "resource": {**good["resource"], "uid": "../x"}}): "uid",
        json.dumps({**good, "resource": {**good["resource"], "type": "volume"}}): "does not serve",
        json.dumps({**good, "resource": {**good["resource"], "state": 7}}): "state",
        json.dumps({**good, "verb": "sleep"}): "does not offer",
        json.dumps({**good, "config": {**good["config"], "state_dir": "relative"}}): "state_dir",
        b'{"x":"' + b"y" * (9 * 1024 * 1024) + b'"}': "larger than",
    }
    for text, word in cases.items():
        lines, status = provider_call(address.program, text)
        assert status == 0 and len(lines) == 1, (text[:80], lines, status)
        assert lines[0]["error"]["class"] == "invalid" and word in lines[0]["error"]["message"], \
            (text[:80], lines)


def test_describe_for_people_and_programs(address):
    text, status = provider_call(address.program, b'{"protocol":1,"verb":"describe","call":"c1"}')
    assert status == 0
    types = {one["type"]: one for one in text[0]["result"]["types"]}
    assert types["route"]["computed"] is True and types["dns"]["scope"] == "environment"
