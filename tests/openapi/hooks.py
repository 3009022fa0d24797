"""What schemathesis sends is drawn towards what is there, and cannot keep the run waiting. What is wrong stays wrong."""

import re

import schemathesis

# Milliseconds.
LONGEST_WAIT = 50
LONGEST_LIFE = 3000
NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
# So many pools, which are small enough to be used up.
POOLS = 3
SMALL = 16
MOST = 1_000_000_000_000


def drawn(name):
    """One of a few pools for any name that may be one."""
    if isinstance(name, str) and name != "infer-slots" and NAME.fullmatch(name):
        return f"p{len(name) % POOLS}"
    return name


def whole(value, most):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body if isinstance(case.body, dict) else {}
    if "{name}" in case.path and case.path_parameters:
        case.path_parameters["name"] = drawn(case.path_parameters.get("name"))
        if whole(body.get("capacity"), MOST):
            body["capacity"] %= SMALL
    if not case.path.startswith("/v1/allocations"):
        return
    for name, most, less in [
        ("wait_ms", 600_000, LONGEST_WAIT),
        ("ttl_ms", 86_400_000, LONGEST_LIFE),
        ("max_lifetime_ms", 30 * 86_400_000, LONGEST_LIFE),
    ]:
        if whole(body.get(name), most):
            body[name] = min(body[name], less)
    resources = body.get("resources")
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        kind = resource.get("type")
        if isinstance(kind, str) and kind.startswith("pool:"):
            resource["type"] = "pool:" + drawn(kind.removeprefix("pool:"))
        if whole(resource.get("amount"), MOST) and resource["amount"] > SMALL // 2:
            resource["amount"] = SMALL // 2
    # Half of the requests that prefer anything would rather not wait.
    prefer = case.headers.get("Prefer") if case.headers else None
    if isinstance(prefer, str) and len(prefer) % 2:
        case.headers["Prefer"] = "respond-async"
