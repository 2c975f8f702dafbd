"""Certificates of a cloud, under the strict checks that Python 3.13 makes by default."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from localclouds import pki


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """A TLS handshake in memory; returns the server's side."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(10):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server_side


def _contexts(tmp_path: Path, *hosts: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = pki.Authority(tmp_path / "pki", "aws")
    serving = authority.issue("apiserver", user="kube-apiserver", hosts=hosts)
    admin = authority.issue("admin", user="localclouds:admin", groups=("system:masters",))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(serving.cert_file, serving.key_file)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    client.load_cert_chain(admin.cert_file, admin.key_file)
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    return server, client


@pytest.mark.parametrize("host", ["127.16.0.1", "kubernetes.default.svc"])
def test_both_sides_accept_each_other_under_strict_checks(tmp_path: Path, host: str) -> None:
    server, client = _contexts(tmp_path, "127.16.0.1", "kubernetes.default.svc")

    seen = _handshake(server, client, host)

    certificate = seen.getpeercert()
    assert certificate is not None
    assert certificate["subject"] == (
        (("organizationName", "system:masters"),),
        (("commonName", "localclouds:admin"),),
    )


def test_a_host_that_is_not_in_the_certificate_is_refused(tmp_path: Path) -> None:
    server, client = _contexts(tmp_path, "127.16.0.1")

    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        _handshake(server, client, "127.16.0.2")


def test_another_clouds_authority_is_refused(tmp_path: Path) -> None:
    server, _ = _contexts(tmp_path / "aws", "127.16.0.1")
    _, client = _contexts(tmp_path / "gcp", "127.16.0.1")

    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, client, "127.16.0.1")


def test_a_pure_client_cannot_serve(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path, "aws")

    pair = authority.issue("admin", user="localclouds:admin")

    usages = x509.load_pem_x509_certificate(pair.cert_file.read_bytes()).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(usages.value) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path / "pki", "aws")

    keys = [authority.issue("admin", user="a").key_file, authority.signing_key("service-account").key_file]

    assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
