"""What pods mount, on a real control plane."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from localclouds import Cloud
from localclouds.images import load
from support.oci import a_layout
from support.workloads import Json, Namespace, a_container, a_pod, eventually

pytestmark = pytest.mark.xdist_group("node")

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def test_config_maps_secrets_and_pod_fields_appear_as_files(space: Namespace, image: str) -> None:
    space.kubectl("create", "configmap", "settings", "--from-literal=a=one", "--from-literal=b=two")
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=k1=hush")
    everything = [
        {"configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/b"}]}},
        {"secret": {"name": "keys"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"configMap": {"name": "nowhere", "optional": True}},
    ]
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "all", "projected": {"sources": everything}},
    ]
    mounts = [
        {"name": "settings", "mountPath": "/pilotage/settings"},
        {"name": "settings", "mountPath": "/pilotage/single/file", "subPath": "a"},
        {"name": "keys", "mountPath": "/etc/pilotage/keys"},
        {"name": "all", "mountPath": "/pilotage/all"},
    ]
    space.apply(a_pod("files", a_container(image, volumeMounts=mounts), volumes=volumes))
    space.await_ready("files")

    assert space.ask("files", "/file?/pilotage/settings/a") == "one"
    assert space.ask("files", "/file?/pilotage/single/file") == "one"
    assert space.ask("files", "/file?/etc/pilotage/keys/k1") == "hush"
    assert space.ask("files", "/file?/pilotage/all/deep/b") == "two"
    assert space.ask("files", "/file?/pilotage/all/k1") == "hush"
    assert 'app="files"' in space.ask("files", "/file?/pilotage/all/labels").splitlines()
    # What was on the machine before is still there beside it.
    assert space.ask("files", "/file?/etc/hostname") == Path("/etc/hostname").read_text()


def test_objects_cannot_be_changed_from_inside(space: Namespace, image: str) -> None:
    space.kubectl("create", "configmap", "settings", "--from-literal=a=one")
    mounts = [{"name": "settings", "mountPath": "/settings"}]
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    command = ["sh", "-c", "echo x > /settings/a || echo refused; exec sleep 100"]
    space.apply(a_pod("ro", a_container(image, command=command, volumeMounts=mounts), volumes=volumes))
    eventually(lambda: "refused" in space.log("ro"), "the write was refused")


def test_files_follow_their_objects(space: Namespace, image: str) -> None:
    space.kubectl("create", "configmap", "settings", "--from-literal=a=one", "--from-literal=b=old")
    volumes: list[Json] = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {
            "name": "me",
            "downwardAPI": {"items": [{"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}}]},
        },
    ]
    mounts = [{"name": "settings", "mountPath": "/settings"}, {"name": "me", "mountPath": "/me"}]
    space.apply(a_pod("fresh", a_container(image, volumeMounts=mounts), volumes=volumes))
    space.await_ready("fresh")
    assert space.ask("fresh", "/file?/settings/a") == "one"

    space.kubectl("patch", "configmap", "settings", "-p", json.dumps({"data": {"a": "two", "b": None}}))
    space.kubectl("annotate", "pod", "fresh", "note=changed")

    eventually(lambda: space.ask("fresh", "/file?/settings/a") == "two", "the new content is there")
    eventually(lambda: space.ask("fresh", "/file?/me/note") == "changed", "the pod's own annotation is there")
    with pytest.raises(AssertionError, match="No such file"):
        space.ask("fresh", "/file?/settings/b")


def test_the_token_works_and_gets_only_what_rbac_allows(space: Namespace, image: str, cloud: Cloud) -> None:
    space.kubectl("create", "serviceaccount", "reader")
    space.kubectl("create", "role", "reader", "--verb=get", "--resource=configmaps")
    space.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={space.name}:reader")
    container = a_container(image, command=["python", "-c", CALLS])
    space.apply(a_pod("calls", container, serviceAccountName="reader", automountServiceAccountToken=True))
    space.await_ready("calls")
    said = eventually(lambda: (t := space.log("calls")).count("\n") >= 3 and t, "it has asked")
    assert str(said).splitlines() == [space.name, "configmaps 200", "secrets 403"]


CALLS = f"""
import os, signal, ssl, urllib.error, urllib.request
folder = "{ACCOUNT}"
namespace = open(folder + "/namespace").read()
print(namespace)
context = ssl.create_default_context(cafile=folder + "/ca.crt")
base = "https://%s:%s" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
for path in ("configmaps/kube-root-ca.crt", "secrets/any"):
    request = urllib.request.Request(
        base + "/api/v1/namespaces/" + namespace + "/" + path,
        headers={{"Authorization": "Bearer " + open(folder + "/token").read()}})
    try:
        code = urllib.request.urlopen(request, context=context).status
    except urllib.error.HTTPError as error:
        code = error.code
    print(path.split("/")[0], code, flush=True)
signal.pause()
"""


def test_an_image_volume_shows_the_artifact(space: Namespace, image: str, cloud: Cloud, tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, {"manifest.json": b"{}", "deep/model.onnx": b"weights"})
    reference = f"registry.example.com/models/digits:1.0@{digest}"
    volumes = [{"name": "bundle", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}]
    mounts = [{"name": "bundle", "mountPath": "/pilotage/bundle"}]
    space.apply(a_pod("model", a_container(image, volumeMounts=mounts), volumes=volumes))

    waiting = space.await_container("model", lambda s: "ImagePullBackOff" in str(s), "misses its bundle")
    assert "localclouds load" in waiting["state"]["waiting"]["message"]
    load(layout, Path(cloud.facts.oci_store))

    space.await_ready("model")
    assert space.ask("model", "/file?/pilotage/bundle/deep/model.onnx") == "weights"
    with pytest.raises(AssertionError, match="Read-only"):
        space.ask("model", "/write?/pilotage/bundle/x=1")


def test_a_damaged_artifact_is_refused(space: Namespace, image: str, cloud: Cloud, tmp_path: Path) -> None:
    layout, digest = a_layout(tmp_path, {"model.onnx": b"other weights"})
    store = Path(cloud.facts.oci_store)
    load(layout, store)
    manifest = json.loads((store / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    layer = store / "blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")
    forged = io.BytesIO()
    with tarfile.open(fileobj=forged, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("model.onnx"), io.BytesIO())
    layer.write_bytes(forged.getvalue())

    volumes = [{"name": "bundle", "image": {"reference": f"example.com/m@{digest}"}}]
    mounts = [{"name": "bundle", "mountPath": "/pilotage/bundle"}]
    space.apply(a_pod("forged", a_container(image, volumeMounts=mounts), volumes=volumes))

    waiting = space.await_container("forged", lambda s: "ImagePullBackOff" in str(s), "is refused")
    assert "the blob has digest sha256:" in waiting["state"]["waiting"]["message"]
