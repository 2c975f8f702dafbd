"""Which kubeconfigs are taken, and what is said about the others."""

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotage.kube import EndpointRefused
from pilotage.kube.endpoint import (
    ClientCertificate,
    Endpoint,
    Token,
    TokenFile,
    from_kubeconfig,
    in_cluster,
    in_cluster_namespace,
)
from pilotage.kube.userconfig import user_access
from support.tls import a_certificate_authority

AUTHORITY = a_certificate_authority()
SECRET = "very-secret-token"

Edit = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Any]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def a_kubeconfig(edit: Edit = lambda config, cluster, user: None) -> dict[str, Any]:
    """Build a good kubeconfig; `edit` gets it with its cluster and user."""
    cluster: dict[str, Any] = {
        "server": "https://aws.example.com:6443",
        "certificate-authority-data": encoded(AUTHORITY.pem),
    }
    user: dict[str, Any] = {"token": SECRET}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "aws",
        "clusters": [{"name": "aws", "cluster": cluster}],
        "users": [{"name": "operator", "user": user}],
        "contexts": [{"name": "aws", "context": {"cluster": "aws", "user": "operator"}}],
    }
    edit(config, cluster, user)
    return config


def test_takes_an_https_server_with_its_authority_and_a_token() -> None:
    assert from_kubeconfig(a_kubeconfig()) == Endpoint(
        server="https://aws.example.com:6443", ca=AUTHORITY.pem, credential=Token(value=SECRET)
    )


def test_takes_a_client_certificate() -> None:
    certificate, key = AUTHORITY.issue("client")

    def edit(_: Any, __: Any, user: dict[str, Any]) -> None:
        del user["token"]
        user["client-certificate-data"], user["client-key-data"] = encoded(certificate), encoded(key)

    assert from_kubeconfig(a_kubeconfig(edit)).credential == ClientCertificate(certificate=certificate, key=key)


def test_takes_another_context_by_name() -> None:
    def edit(config: dict[str, Any], cluster: dict[str, Any], _: Any) -> None:
        other = cluster | {"server": "https://gcp.example.com/prefix/", "tls-server-name": "kubernetes"}
        config["clusters"].append({"name": "gcp", "cluster": other})
        config["contexts"].append({"name": "gcp", "context": {"cluster": "gcp", "user": "operator"}})

    endpoint = from_kubeconfig(a_kubeconfig(edit), context="gcp")

    assert (endpoint.server, endpoint.tls_server_name) == ("https://gcp.example.com/prefix", "kubernetes")


def test_an_endpoint_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(from_kubeconfig(a_kubeconfig()))


REFUSED: list[tuple[str, Edit, str]] = [
    ("exec", lambda c, k, u: u.update(exec={"command": "aws"}), r"user\.exec: would run a program"),
    (
        "auth-provider",
        lambda c, k, u: u.update({"auth-provider": {"name": "gcp"}}),
        r"user\.auth-provider: would run",
    ),
    ("token-file", lambda c, k, u: u.update(tokenFile="/etc/token"), r"user\.tokenFile: names a file"),
    (
        "client-certificate",
        lambda c, k, u: u.update({"client-certificate": "/x"}),
        r"user\.client-certificate: names a file",
    ),
    ("client-key", lambda c, k, u: u.update({"client-key": "/x"}), r"user\.client-key: names a file"),
    ("as", lambda c, k, u: u.update({"as": "root"}), r"user\.as: impersonates"),
    ("as-uid", lambda c, k, u: u.update({"as-uid": "1"}), r"user\.as-uid: impersonates"),
    ("as-groups", lambda c, k, u: u.update({"as-groups": ["x"]}), r"user\.as-groups: impersonates"),
    ("as-user-extra", lambda c, k, u: u.update({"as-user-extra": {"a": ["b"]}}), r"as-user-extra: impersonates"),
    ("username", lambda c, k, u: u.update(username="me"), r"user\.username: is basic authentication"),
    ("password", lambda c, k, u: u.update(password="x"), r"user\.password: is basic authentication"),
    ("unknown-user-field", lambda c, k, u: u.update(magic="x"), r"user\.magic: is not known here"),
    (
        "authority-file",
        lambda c, k, u: k.update({"certificate-authority": "/ca"}),
        r"cluster\.certificate-authority: names a file",
    ),
    (
        "insecure",
        lambda c, k, u: k.update({"insecure-skip-tls-verify": True}),
        r"insecure-skip-tls-verify: switches verification off",
    ),
    ("proxy", lambda c, k, u: k.update({"proxy-url": "http://p"}), r"cluster\.proxy-url: sends the credential"),
    ("unknown-cluster-field", lambda c, k, u: k.update(magic="x"), r"cluster\.magic: is not known here"),
    ("http", lambda c, k, u: k.update(server="http://aws"), r"cluster\.server: 'http://aws' is not https"),
    ("no-server", lambda c, k, u: k.pop("server"), r"cluster\.server: '' is not https"),
    ("no-host", lambda c, k, u: k.update(server="https://"), r"cluster\.server: 'https://' is not an address"),
    ("bad-port", lambda c, k, u: k.update(server="https://aws:port"), r"cluster\.server: .* is not an address"),
    ("user-in-url", lambda c, k, u: k.update(server="https://me:pw@aws"), r"cluster\.server: carries more than"),
    ("query", lambda c, k, u: k.update(server="https://aws?x=y"), r"cluster\.server: carries more than"),
    (
        "no-authority",
        lambda c, k, u: k.pop("certificate-authority-data"),
        r"certificate-authority-data: is missing; the system's authorities are not trusted here",
    ),
    (
        "bad-authority",
        lambda c, k, u: k.update({"certificate-authority-data": encoded("no certificate")}),
        r"certificate-authority-data: is no certificate",
    ),
    (
        "authority-not-base64",
        lambda c, k, u: k.update({"certificate-authority-data": "§§"}),
        r"certificate-authority-data: is no certificate",
    ),
    ("no-credential", lambda c, k, u: u.clear(), r"user: holds no credential"),
    ("token-of-two-lines", lambda c, k, u: u.update(token="a\nb"), r"user\.token: holds characters"),
    (
        "half-a-certificate",
        lambda c, k, u: u.update({"token": "", "client-key-data": encoded("x")}),
        r"user: holds one of client-certificate-data and client-key-data",
    ),
    (
        "two-credentials",
        lambda c, k, u: u.update({"client-certificate-data": "x", "client-key-data": "y"}),
        r"user: holds a token and a client certificate",
    ),
    (
        "certificate-no-pem",
        lambda c, k, u: u.update({"token": "", "client-certificate-data": "eA==", "client-key-data": "eA=="}),
        r"client-certificate-data, client-key-data: are no PEM",
    ),
    ("no-context", lambda c, k, u: c.update({"current-context": ""}), r"current-context: is empty"),
    ("unknown-context", lambda c, k, u: c.update({"current-context": "x"}), r"contexts\[x\]: no such entry"),
    ("unknown-cluster", lambda c, k, u: c.update(clusters=[]), r"clusters\[aws\]: no such entry"),
    ("unknown-user", lambda c, k, u: c.update(users=None), r"users\[operator\]: no such entry"),
    (
        "cluster-twice",
        lambda c, k, u: c["clusters"].append(copy.deepcopy(c["clusters"][0])),
        r"clusters\[aws\]: 2 entries of that name",
    ),
]


@pytest.mark.parametrize(("edit", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refuses_what_is_unsafe_or_incomplete(edit: Edit, reason: str) -> None:
    with pytest.raises(EndpointRefused, match=reason) as refused:
        from_kubeconfig(a_kubeconfig(edit))

    assert SECRET not in str(refused.value)


def test_tells_all_reasons_at_once() -> None:
    def edit(_: Any, cluster: dict[str, Any], user: dict[str, Any]) -> None:
        cluster.update({"server": "http://aws", "insecure-skip-tls-verify": True})
        user["exec"] = {"command": "aws"}

    with pytest.raises(EndpointRefused) as refused:
        from_kubeconfig(a_kubeconfig(edit))

    assert [reason.partition(":")[0] for reason in refused.value.reasons] == [
        "cluster.insecure-skip-tls-verify",
        "user.exec",
        "cluster.server",
    ]


@pytest.mark.parametrize("text", [None, "text", [], 3])
def test_refuses_what_is_no_kubeconfig(text: object) -> None:
    with pytest.raises(EndpointRefused, match="no mapping"):
        from_kubeconfig(text)


def test_a_field_that_is_switched_off_is_no_reason() -> None:
    def edit(_: Any, cluster: dict[str, Any], __: Any) -> None:
        cluster["insecure-skip-tls-verify"] = False

    assert from_kubeconfig(a_kubeconfig(edit)).server


def a_pod(root: Path) -> dict[str, str]:
    folder = root / "var/run/secrets/kubernetes.io/serviceaccount"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text(AUTHORITY.pem)
    (folder / "token").write_text(SECRET)
    (folder / "namespace").write_text("pilotage-system\n")
    return {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "PILOTAGE_POD_ROOT": str(root),
    }


def test_finds_the_service_account_below_the_root_of_the_pod(tmp_path: Path) -> None:
    environ = a_pod(tmp_path)

    endpoint = in_cluster(environ)

    folder = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount"
    assert endpoint == Endpoint(
        server="https://127.0.0.1:6443", ca=AUTHORITY.pem, credential=TokenFile(path=folder / "token")
    )
    assert in_cluster_namespace(environ) == "pilotage-system"


def test_brackets_an_ipv6_address(tmp_path: Path) -> None:
    environ = a_pod(tmp_path) | {"KUBERNETES_SERVICE_HOST": "fd00::1"}

    assert in_cluster(environ).server == "https://[fd00::1]:6443"


def test_says_what_a_pod_lacks(tmp_path: Path) -> None:
    with pytest.raises(EndpointRefused, match=r"KUBERNETES_SERVICE_HOST.*; .*ca\.crt: No such file"):
        in_cluster({"PILOTAGE_POD_ROOT": str(tmp_path)})


# --- the user's own kubeconfig ---------------------------------------------------------------------------------


def written(folder: Path, name: str, edit: Edit = lambda c, k, u: None) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(a_kubeconfig(edit)))
    return path


def test_reads_files_beside_the_users_kubeconfig(tmp_path: Path) -> None:
    def edit(_: Any, cluster: dict[str, Any], user: dict[str, Any]) -> None:
        del cluster["certificate-authority-data"]
        cluster["certificate-authority"] = "ca.crt"
        del user["token"]
        user["tokenFile"] = "token"

    (tmp_path / "ca.crt").write_text(AUTHORITY.pem)
    (tmp_path / "token").write_text(SECRET + "\n")

    access = user_access(kubeconfig=str(written(tmp_path, "config", edit)), environ={})

    assert access.endpoint == from_kubeconfig(a_kubeconfig())
    assert (access.namespace, access.context) == ("default", "aws")


def test_runs_the_users_login_plugin(tmp_path: Path) -> None:
    def edit(_: Any, __: Any, user: dict[str, Any]) -> None:
        user.clear()
        script = """echo '{"status": {"token": "'$FROM'"}}'"""
        user["exec"] = {"command": "sh", "args": ["-c", script], "env": [{"name": "FROM", "value": "plugin"}]}

    path = written(tmp_path, "config", edit)

    access = user_access(kubeconfig=str(path), environ={"PATH": "/usr/bin:/bin"})

    assert access.endpoint.credential == Token(value="plugin")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo not logged in >&2; exit 3", r"'sh' ended with 3: not logged in"),
        ("echo nonsense", r"'sh' printed no ExecCredential"),
    ],
)
def test_says_why_the_users_login_plugin_failed(tmp_path: Path, script: str, reason: str) -> None:
    def edit(_: Any, __: Any, user: dict[str, Any]) -> None:
        user.clear()
        user["exec"] = {"command": "sh", "args": ["-c", script]}

    with pytest.raises(EndpointRefused, match=reason):
        user_access(kubeconfig=str(written(tmp_path, "config", edit)), environ={"PATH": "/usr/bin:/bin"})


def test_merges_the_files_of_kubeconfig_first_one_first(tmp_path: Path) -> None:
    def elsewhere(config: dict[str, Any], cluster: dict[str, Any], _: Any) -> None:
        cluster["server"] = "https://elsewhere.example.com"
        config["contexts"][0]["context"]["namespace"] = "models"
        config["contexts"].append({"name": "second", "context": {"cluster": "aws", "user": "operator"}})

    first, second = written(tmp_path, "first"), written(tmp_path, "second", elsewhere)
    environ = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"}

    access = user_access(environ=environ)

    assert access.endpoint.server == "https://aws.example.com:6443"
    assert access.namespace == "default"
    assert user_access(environ=environ, context="second").context == "second"


def test_falls_back_to_home_then_to_the_pod(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    written(tmp_path / ".kube", "config")
    pod = a_pod(tmp_path / "pod")

    assert user_access(environ={"HOME": str(tmp_path)}).context == "aws"
    assert user_access(environ=pod | {"HOME": str(tmp_path / "nowhere")}).namespace == "pilotage-system"


def test_names_the_kubeconfig_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EndpointRefused, match=r"nothing-here: no such file; name a kubeconfig with --kubeconfig"):
        user_access(kubeconfig=str(tmp_path / "nothing-here"), environ={})
