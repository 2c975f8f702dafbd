"""`spec.feedback` in a member: who may post labels, and where labels of other clusters may go."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pilotage.api import decode
from pilotage.api.conditions import find
from pilotage.api.names import REVISION_LABEL
from pilotage.api.revision import plan_hash, revision_name
from pilotage.api.types import Credentials, Feedback, MemberFeedback, Metadata, Model, ModelRevision, Relay, Server
from pilotage.plan import decide, manifests
from pilotage.plan.feedback import MOST_PEERS, peer_files
from pilotage.plan.observed import Manifest
from support.builders import SERVER_IMAGE, a_deployment, bundle
from support.stories import a_world_with_v1_stable
from support.world import World

OWNER = manifests.Owner(deployment="digits", namespace="models", origin="11111111.2222-uid", cluster="aws")
PLAIN = Feedback(label_delay_s=60.0)
CLOSED = replace(PLAIN, credentials=Credentials(secret_name="digits-feedback"))


def server_pod(feedback: Feedback, **server: Any) -> dict[str, Any]:
    revision = ModelRevision(
        metadata=Metadata(name="digits-0a1b2c3d4e"),
        model=Model(bundle=bundle("v1")),
        server=Server(image=SERVER_IMAGE, **server),
    )
    return pod_of(manifests.server_deployment(OWNER, revision, 1, feedback))


def collector_pod(feedback: Feedback) -> dict[str, Any]:
    return pod_of(manifests.collector(OWNER, Server(image=SERVER_IMAGE), feedback)[2])


def pod_of(workload: Manifest) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def env(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["containers"][0]["env"]}


def mounted(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Volumes by the place where the container finds them."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}


def test_credentials_are_mounted_into_servers_and_into_the_collector():
    for pod in (server_pod(CLOSED), collector_pod(CLOSED)):
        place = env(pod)["PILOTAGE_FEEDBACK_CREDENTIALS_DIR"]
        assert mounted(pod)[place]["secret"] == {"secretName": "digits-feedback", "optional": True}
        (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == place)
        assert mount["readOnly"] is True


def test_a_rate_is_for_the_pods_that_take_labels_from_outside():
    limited = replace(CLOSED, credentials=Credentials(secret_name="digits-feedback", rate=500))

    assert env(server_pod(limited))["PILOTAGE_FEEDBACK_RATE"] == "500"
    assert "PILOTAGE_FEEDBACK_RATE" not in env(server_pod(CLOSED))
    assert collector_pod(limited) == collector_pod(CLOSED), "another rate restarts no collector"


def test_a_rate_of_zero_is_no_limit_and_not_the_default():
    unlimited = replace(CLOSED, credentials=Credentials(secret_name="digits-feedback", rate=0))

    assert env(server_pod(unlimited))["PILOTAGE_FEEDBACK_RATE"] == "0"


def test_the_field_takes_the_place_of_lines_that_a_revision_still_brings_along():
    lines = {"name": "PILOTAGE_FEEDBACK_CREDENTIALS", "value": "clinic " + "c" * 32}

    assert "PILOTAGE_FEEDBACK_CREDENTIALS" in env(server_pod(PLAIN, env=(lines,)))
    assert "PILOTAGE_FEEDBACK_CREDENTIALS" not in env(server_pod(CLOSED, env=(lines,)))


def test_sealed_tokens_are_a_matter_of_the_servers():
    sealed = replace(PLAIN, sealed_tokens=True)

    assert env(server_pod(sealed))["PILOTAGE_SEALED_TOKENS"] == "true"
    assert collector_pod(sealed) == collector_pod(PLAIN)


def test_a_relay_mounts_the_peers_and_the_tokens_for_them():
    pod = server_pod(replace(PLAIN, relay=Relay(secret_name="digits-peers")))

    folder, _, file = env(pod)["PILOTAGE_FEEDBACK_PEERS"].rpartition("/")
    assert file == "peers.json"
    assert mounted(pod)[folder]["configMap"] == {"name": "digits-collector"}
    tokens = mounted(pod)["/pilotage/feedback-peer-tokens"]
    assert tokens["secret"] == {"secretName": "digits-peers", "optional": True}


def test_what_feedback_says_makes_no_revision_and_no_rollout():
    plain = decode.model_deployment(a_deployment().manifest()).spec
    assert plain is not None
    more = replace(plain, feedback=replace(CLOSED, sealed_tokens=True, relay=Relay()))

    assert revision_name("digits", more.model, more.server) == revision_name("digits", plain.model, plain.server)
    assert plan_hash(more) == plan_hash(plain)


def test_a_field_of_a_wrong_kind_is_named_with_its_path():
    manifest = a_deployment().manifest()
    manifest["spec"]["feedback"] |= {"credentials": {"rate": "fast"}, "relay": True}

    problems = decode.model_deployment(manifest).problems

    assert "spec.feedback.credentials.secretName: missing; it is required" in problems
    assert "spec.feedback.credentials.rate: 'fast' is not an integer" in problems
    assert "spec.feedback.relay: True is not an object" in problems


# ---------------------------------------------------------------------------------------------------------- peers.json

EU = MemberFeedback(url="https://{model}.{namespace}.feedback.aws.example", jurisdictions=("eu",))


def peers(cluster: str, *, tokens: str | None = None, **members: MemberFeedback | None) -> dict[str, Any]:
    files = peer_files(Relay(secret_name=tokens), cluster, members, namespace="models", deployment="digits")
    found: dict[str, Any] = json.loads(files["peers.json"])
    return found


def test_every_other_cluster_that_may_get_labels_is_a_peer():
    gcp = replace(EU, url="http://gcp.example:8090/{namespace}/{model}")

    found = peers("aws", aws=EU, gcp=gcp, azure=replace(EU, jurisdictions=("us",)), ovh=replace(EU, url=""), own=None)

    assert found == {
        "jurisdictions": ["eu"],
        "peers": {"gcp": {"url": "http://gcp.example:8090/models/digits", "jurisdictions": ["eu"]}},
    }
    assert peers("gcp", aws=EU, gcp=gcp)["peers"]["aws"]["url"] == "https://digits.models.feedback.aws.example"


@pytest.mark.parametrize(
    ("own", "theirs", "allowed"),
    [((), (), True), (("eu",), ("ie", "eu"), True), (("eu",), ("us",), False), (("eu",), (), False)],
)
def test_labels_go_only_where_the_jurisdictions_share_one(own, theirs, allowed):
    found = peers("aws", aws=MemberFeedback(jurisdictions=own), gcp=replace(EU, jurisdictions=theirs))

    assert ("gcp" in found["peers"]) is allowed


def test_a_cluster_that_says_nothing_hands_on_to_those_that_name_no_jurisdiction():
    assert set(peers("aws", aws=None, gcp=EU, azure=replace(EU, jurisdictions=()))["peers"]) == {"azure"}


def test_tokens_for_peers_are_files_named_after_them():
    found = peers("aws", tokens="digits-peers", aws=EU, gcp=EU)

    assert found["peers"]["gcp"]["credentialFile"] == "/pilotage/feedback-peer-tokens/gcp"


def test_authorities_that_several_clusters_share_are_written_once():
    signed = replace(EU, ca_bundle="-----BEGIN CERTIFICATE-----\n…")

    files = peer_files(
        Relay(), "aws", {"aws": EU, "gcp": signed, "ovh": signed}, namespace="models", deployment="digits"
    )

    (authorities,) = (name for name in files if name != "peers.json")
    assert files[authorities] == signed.ca_bundle
    named = {peer["caFile"] for peer in json.loads(files["peers.json"])["peers"].values()}
    assert named == {f"/pilotage/feedback-peers/{authorities}"}


def test_without_relay_nothing_is_written_and_with_it_always_a_file():
    assert peer_files(None, "aws", {"aws": EU, "gcp": EU}, namespace="models", deployment="digits") == {}
    assert peers("aws") == {"jurisdictions": [], "peers": {}}


def test_no_more_peers_are_written_than_a_server_reads():
    many = {f"c{number:03}": EU for number in range(MOST_PEERS + 20)}

    files = peer_files(Relay(), "c000", many, namespace="models", deployment="digits")

    assert len(json.loads(files["peers.json"])["peers"]) == MOST_PEERS


# ------------------------------------------------------------------------------------------------------ in a deployment


RELAYED = a_deployment().with_waves(first=["aws"], rest=None).with_feedback(relay={"secretName": "digits-peers"})


def live(world: World, cluster: str, kind: str) -> Manifest:
    return next(obj for obj in world.members[cluster].live() if obj["kind"] == kind)


def told(world: World, cluster: str) -> dict[str, Any]:
    """The peers that pods of a cluster know."""
    found: dict[str, Any] = json.loads(live(world, cluster, "ConfigMap")["data"]["peers.json"])["peers"]
    return found


def test_an_address_that_is_given_later_reaches_the_pods_and_restarts_none():
    world = a_world_with_v1_stable("aws", "gcp", deployment=RELAYED)
    assert told(world, "aws") == told(world, "gcp") == {}
    pods = {cluster: pod_of(live(world, cluster, "Deployment")) for cluster in ("aws", "gcp")}

    world.clusters["gcp"]["spec"]["feedback"] = {"url": "http://gcp.example:8090"}
    world.run(60)

    assert told(world, "aws").keys() == {"gcp"}
    assert told(world, "gcp") == {}
    assert pods == {cluster: pod_of(live(world, cluster, "Deployment")) for cluster in ("aws", "gcp")}
    assert world.status.phase == "Healthy"


def test_a_cluster_out_of_the_placement_gets_no_labels():
    world = World("aws", "gcp")
    world.clusters["gcp"]["metadata"]["labels"] = {"tier": "serving"}
    for cluster in ("aws", "gcp"):
        world.clusters[cluster]["spec"]["feedback"] = {"url": f"http://{cluster}.example"}
    world.apply(RELAYED.placed_on(tier="serving"))
    world.run(600)

    assert told(world, "gcp") == {}


def test_closing_feedback_restarts_pods_and_begins_no_rollout():
    world = a_world_with_v1_stable("aws", "gcp")
    rollout = world.status.rollout

    world.apply(a_deployment().with_waves(first=["aws"], rest=None).with_feedback(credentials={"secretName": "who"}))
    world.run(60)

    assert "PILOTAGE_FEEDBACK_CREDENTIALS_DIR" in env(pod_of(live(world, "aws", "Deployment")))
    assert "PILOTAGE_FEEDBACK_CREDENTIALS_DIR" in env(pod_of(live(world, "aws", "StatefulSet")))
    assert world.status.rollout == rollout


def test_pods_that_wait_for_the_secret_are_told_of_while_others_serve():
    closed = a_deployment().with_waves(first=["aws"], rest=None).with_feedback(credentials={"secretName": "who"})
    world = a_world_with_v1_stable("aws", "gcp", deployment=closed)
    said = "PILOTAGE_FEEDBACK_CREDENTIALS_DIR: /pilotage/feedback-credentials: 0 tokens; give 1 to 20"
    ended = {"terminated": {"exitCode": 2, "message": said}}
    container = {"name": "server", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = {
        "metadata": {"name": "pod-1", "labels": {REVISION_LABEL: world.name_of("v1")}},
        "status": {"containerStatuses": [{**container, "lastState": ended}]},
    }
    observed = world.observed()
    aws = replace(observed.clusters["aws"], pods=(pod,))

    decision = decide(replace(observed, clusters={**observed.clusters, "aws": aws}), world.now)

    assert decision.status.phase == "Degraded"
    progressing = find(decision.status.conditions, "Progressing")
    assert progressing is not None
    assert (progressing.status, progressing.reason) == ("False", "MemberSecretMissing")
    assert progressing.message == f"aws: {world.name_of('v1')}: {said}; the Secret is models/who"
    assert [event.reason for event in decision.events] == ["MemberSecretMissing"]
