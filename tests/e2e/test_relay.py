"""A label that is posted in another cluster than the one that predicted, between two clouds, by `kubectl` alone."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from demo import load, manifests, story
from localclouds import Cloud
from support.clouds import get, kubectl
from support.polling import eventually
from support.stage import anew

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.timeout(300)]

THERE, HERE = "aws", "gcp"
"""Where the prediction is made, and where its label is posted."""
FORGET = '[{"op": "remove", "path": "/spec/feedback"}]'


@pytest.fixture(scope="module")
def relayed(stage: story.Stage) -> Iterator[story.Stage]:
    """Both clouds hand labels on to each other; afterwards all is as it was, and nothing counted."""
    for name in (THERE, HERE):
        service = get(stage.clouds[name], "service", f"{manifests.NAME}-collector", "-n", manifests.NAMESPACE)
        tell(stage, name, url=f"http://{service['spec']['clusterIP']}:8090", jurisdictions=["eu"])
    spec = json.dumps({"spec": {"feedback": {"relay": {}}}})
    hub = stage.clouds["hub"]
    kubectl(hub, "patch", "mdep", manifests.NAME, "-n", manifests.NAMESPACE, "--type=merge", "-p", spec)
    eventually(lambda: know_peers(stage.clouds[HERE]), within_s=60, every_s=0.5)
    yield stage
    kubectl(hub, "patch", "mcl", THERE, "--type=json", "-p", FORGET)
    kubectl(hub, "patch", "mcl", HERE, "--type=json", "-p", FORGET)
    anew(stage)


def tell(stage: story.Stage, name: str, **feedback: Any) -> None:
    """`spec.feedback` of a MemberCluster."""
    kubectl(
        stage.clouds["hub"], "patch", "mcl", name, "--type=merge", "-p", json.dumps({"spec": {"feedback": feedback}})
    )


def know_peers(cloud: Cloud) -> bool:
    """Every server pod that is there has been told where its peers are."""
    pods = get(cloud, "pods", "-n", manifests.NAMESPACE, "-l", "pilotage.dev/arm=server")["items"]
    told = [
        "PILOTAGE_FEEDBACK_PEERS" in {entry["name"] for entry in pod["spec"]["containers"][0]["env"]} for pod in pods
    ]
    return bool(told) and all(told)


def ask(cloud: Cloud, what: str, body: Any = None) -> Any:
    """A question to the model through the cloud's gateway."""
    request = urllib.request.Request(
        f"{cloud.gateway_url}/v2/models/{manifests.NAME}/{what}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"host": load.HOSTNAME},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def a_token(cloud: Cloud) -> str:
    image = {"name": "input", "datatype": "FP64", "shape": [1, 64], "data": [0.0] * 64}
    token: str = ask(cloud, "infer", {"inputs": [image]})["parameters"]["feedback_token"]
    return token


def post(cloud: Cloud, token: str) -> str:
    answer = ask(cloud, "feedback", {"feedback": [{"token": token, "row": 0, "label": "8"}]})
    return str(answer["results"][0]["result"])


def rows(cloud: Cloud, which: str) -> int:
    """Rows of the cloud's ledger: `countedRows` or `pendingRows`."""
    return sum(revision[which] for revision in ask(cloud, "quality")["revisions"].values())


def test_a_label_posted_in_the_wrong_cluster_counts_once_in_the_right_one(relayed: story.Stage):
    there, here = relayed.clouds[THERE], relayed.clouds[HERE]
    before = rows(there, "countedRows"), rows(here, "countedRows")
    token = a_token(there)

    assert [post(here, token), post(here, token), post(there, token)] == ["accepted", "duplicate", "duplicate"]

    once = (before[0] + 1, before[1])
    eventually(
        lambda: (rows(there, "countedRows"), rows(here, "countedRows")) == once and rows(there, "pendingRows") == 0,
        within_s=60,
        every_s=0.5,
    )


def test_where_jurisdictions_share_nothing_it_stays_and_says_so(relayed: story.Stage):
    there, here = relayed.clouds[THERE], relayed.clouds[HERE]
    pods = names_of_pods(here)
    token = a_token(there)
    assert post(here, token) == "accepted"

    tell(relayed, HERE, jurisdictions=["us"])
    eventually(lambda: post(here, token) == "wrong_cluster", within_s=60, every_s=0.5)

    assert names_of_pods(here) <= pods, "a pod was restarted for it"


def names_of_pods(cloud: Cloud) -> set[str]:
    return {pod["metadata"]["name"] for pod in get(cloud, "pods", "-n", manifests.NAMESPACE)["items"]}
