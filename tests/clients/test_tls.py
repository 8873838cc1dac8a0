"""What a server says of its certificate, and to whom it speaks, as OpenSSL sees it."""

import contextlib
import os
import re
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
import websockets.sync.client
from OpenSSL import SSL

from certificates import EC, FOR_CLIENTS, LOCALHOST, RSA, Authority, openssl
from program import DEADLINE, WAYS, running
from tickets import read_tickets

SERVER = os.environ["SECURE_SERVER"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.sign("localhost")


@contextlib.contextmanager
def serving(pair, *settings, log=None):
    """A server with this certificate and key; it ends in order."""
    command = [SERVER, f"TLS_CERTIFICATE={pair[0]}", f"TLS_KEY={pair[1]}", *settings]
    with running(command, stderr=log) as program:
        yield program
        program.stop()


@pytest.fixture(scope="module")
def server(pair):
    with serving(pair) as program:
        yield program


# Who a line of the log is about.
NAME = r"websocket [1-9]\d* peer 127\.0\.0\.1:\d+: "


def s_client(server, *arguments, speech="Q\n"):
    """What `openssl s_client` prints."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *map(str, arguments)]
    done = subprocess.run(command, input=speech, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=DEADLINE)
    return done.stdout


def trusting(authority, **settings):
    context = ssl.create_default_context(cafile=authority.certificate)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@contextlib.contextmanager
def connected(server, context, name="localhost"):
    """A socket that speaks TLS, and tells an end without close_notify by an exception."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
        with context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False) as secure:
            yield secure


def websocket(server, path, context, name="localhost"):
    stream = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
    if context:
        stream = context.wrap_socket(stream, server_hostname=name)
        if stream.version() == "TLSv1.3":
            read_tickets(stream)
    # The socket speaks TLS already, so the address must not ask for it.
    return websockets.sync.client.connect(f"ws://{name}{path}", sock=stream, open_timeout=DEADLINE, proxy=None,
                                          compression=None)


def metric(server, context, number):
    with websocket(server, "/metric", context) as client:
        client.send(str(number))
        return int(client.recv(DEADLINE))


def read_to_end(secure):
    answer = b""
    while piece := secure.recv(65536):
        answer += piece
    return answer


def shown(server, context, name="localhost"):
    """The certificate that a new client is shown."""
    with connected(server, context, name) as secure:
        return secure.getpeercert(binary_form=True)


def der_of(certificate):
    return ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())


def end_of(certificate):
    """When it expires, in seconds since 1970."""
    told = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-enddate"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return ssl.cert_time_to_seconds(told.removeprefix("notAfter=").strip())


# ---- starting ----


@pytest.fixture(scope="module")
def bad_files(authority, pair):
    """Settings that make no identity, and what the log says of them."""
    certificate, key = pair
    _, other_key = authority.sign("other")
    names = ["empty", "encrypted", "old", "dsa", "curve", "short", "ssh", "der", "pfx", "public", "request"]
    empty, encrypted, old, dsa, curve, short, ssh, der, pfx, public, request = (authority.file(name) for name in names)
    Path(empty).write_text("")
    openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:x", "-out", encrypted)
    openssl("ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", old)
    assert "Proc-Type: 4,ENCRYPTED" in Path(old).read_text()
    openssl("genpkey", "-algorithm", "ED448", "-out", dsa)
    openssl("ecparam", "-name", "secp256k1", "-genkey", "-out", curve)
    openssl("genrsa", "-out", short, "1024")
    openssl("x509", "-in", certificate, "-outform", "der", "-out", der)
    openssl("pkcs12", "-export", "-in", certificate, "-inkey", key, "-passout", "pass:x", "-out", pfx)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    openssl("req", "-new", "-key", key, "-subj", "/CN=request", "-out", request)
    Path(ssh).write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nYWJj\n-----END OPENSSH PRIVATE KEY-----\n")

    def written(name, content):
        Path(authority.file(name)).write_bytes(content)
        return authority.file(name)

    good = Path(certificate).read_bytes()
    garbage = written("garbage", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
    broken = written("broken", b"-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n")
    missing = authority.file("missing")
    kinds = "RSA with 2048 to 8192 bits, EC with the curve P-256, P-384 or P-521, and Ed25519"
    return {
        "no key": ([certificate, "", ""], "is missing"),
        "no certificate": (["", key, ""], "is missing"),
        "an authority alone": (["", "", certificate], "is missing"),
        "a missing certificate": ([missing, key, ""], "cannot be read"),
        "a missing key": ([certificate, missing, ""], "cannot be read"),
        "a folder": ([str(authority.folder), key, ""], "cannot be read"),
        "garbage as certificate": ([garbage, key, ""], "is not PEM"),
        "a broken certificate": ([broken, key, ""], "contains an invalid certificate"),
        "an empty file": ([empty, key, ""], "contains no certificate"),
        "a key as certificate": ([key, key, ""], "contains no certificate, but a private key"),
        "a certificate as key": ([certificate, certificate, ""], "contains no private key, but a certificate"),
        "an encrypted key": ([certificate, encrypted, ""], f"is encrypted.*openssl pkey -in {encrypted} -out"),
        "an encrypted key of the old form": ([certificate, old, ""], f"is encrypted.*openssl pkey -in {old} -out"),
        "an Ed448 key": ([certificate, dsa, ""], f"{kinds}.*openssl genpkey"),
        "a key of another curve": ([certificate, curve, ""], f"{kinds}.*openssl genpkey"),
        "a short RSA key": ([certificate, short, ""], f"{kinds}.*openssl genpkey"),
        "a key for SSH": ([certificate, ssh, ""], "but one for SSH.*ssh-keygen -p -m PEM"),
        "the public half of a key": ([certificate, public, ""], "contains no private key, but a public key"),
        "the key to another": ([certificate, other_key, ""], "is not the private key of"),
        "garbage as authority": ([certificate, key, garbage], "is not PEM"),
        "an empty authority": ([certificate, key, empty], "contains no certificate"),
        "a byte order mark": ([written("bom", b"\xef\xbb\xbf" + good), key, ""], "byte order mark.*without"),
        "a byte order mark before the key": ([certificate, written("bom.key", b"\xef\xbb\xbf" + Path(key).read_bytes()),
                                              ""], "byte order mark.*without"),
        "UTF-16": ([written("utf-16", good.decode().encode("utf-16")), key, ""], "UTF-16"),
        "DER": ([der, key, ""], f"is binary.*openssl x509 -inform der -in {der}.*openssl pkcs12 -in {der}"),
        "PKCS#12": ([certificate, pfx, ""], f"is binary.*openssl pkey -inform der -in {pfx}.*openssl pkcs12 -in {pfx}"),
        "a request": ([request, key, ""], "contains no certificate, but a certificate request"),
        "a file that is cut": ([written("cut", good[:-40]), key, ""], "the line -----END CERTIFICATE----- is missing"),
        "a spoilt line": ([written("spoilt", good.replace(b"BEGIN CERTIFICATE-----", b"BEGIN CERTIFICATE--")), key, ""],
                          "-----BEGIN CERTIFICATE--"),
    }


def test_a_start_with_files_of_no_use_answers_tls_and_the_log_says_why(bad_files):
    for what, (files, reason) in bad_files.items():
        names = ["TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA"]
        settings = [f"{name}={file}" for name, file in zip(names, files)]
        done = subprocess.run([SERVER, *settings], stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
        assert done.returncode == 2, what
        assert "start: PORTAL_STATUS_TLS" in done.stderr, what
        assert re.search(f"log 1: cannot set up TLS: .*{reason}", done.stderr), (what, done.stderr)


@pytest.mark.parametrize("form", ["PKCS#8", "PKCS#1", "SEC1"])
def test_a_key_may_have_each_of_its_forms(authority, form):
    certificate, key = authority.sign(form.replace("#", ""), kind=RSA if form == "PKCS#1" else ["-newkey", "ec",
                                      "-pkeyopt", "ec_paramgen_curve:P-384"])
    if form != "PKCS#8":
        plain = f"{key}.plain"
        if form == "PKCS#1":
            openssl("rsa", "-in", key, "-traditional", "-out", plain)
        else:
            openssl("ec", "-in", key, "-out", plain)
        key = plain
        assert {"PKCS#1": "BEGIN RSA PRIVATE KEY", "SEC1": "BEGIN EC PRIVATE KEY"}[form] in Path(key).read_text()
    with serving((certificate, key)) as server:
        assert shown(server, trusting(authority)) == der_of(certificate)


def test_the_whole_chain_is_shown(authority):
    below = authority.intermediate("below")
    certificate, key = below.sign("chained")
    chain = authority.file("chain.pem")
    Path(chain).write_text(Path(certificate).read_text() + Path(below.certificate).read_text())
    with serving((chain, key)) as server:
        assert shown(server, trusting(authority)) == der_of(certificate)


@pytest.mark.parametrize("kind", [RSA, EC], ids=["RSA", "EC"])
def test_a_certificate_of_version_1_is_served_and_the_log_says_how_to_make_a_better_one(authority, tmp_path, kind):
    certificate, key = authority.sign("old", kind=kind, extension=None)
    log = tmp_path / "log"
    with log.open("w") as stderr, serving((certificate, key), log=stderr) as server:
        assert shown(server, trusting(authority, check_hostname=False)) == der_of(certificate)
    assert re.search(f"log 2: certificate 1 in {certificate} is of X.509 version 1.*openssl", log.read_text())


def test_a_certificate_of_version_1_needs_its_own_key(authority):
    certificate, _ = authority.sign("old", extension=None)
    _, other = authority.sign("other")
    done = subprocess.run([SERVER, f"TLS_CERTIFICATE={certificate}", f"TLS_KEY={other}"], stderr=subprocess.PIPE,
                          text=True, timeout=DEADLINE)
    assert done.returncode == 2 and f"{other} is not the private key of {certificate}" in done.stderr


def test_an_authority_of_version_1_lets_clients_in(authority, pair):
    old = authority.intermediate("old authority", extension=None)
    good = old.sign("client", extension="extendedKeyUsage=clientAuth")
    with serving(pair, f"TLS_CLIENT_CA={old.certificate}") as server:
        assert "HTTP/1.1 200 OK" in s_client(server, "-ign_eof", "-cert", good[0], "-key", good[1], speech=PAGE.decode())


def test_a_client_with_a_certificate_of_version_1_is_refused_and_the_log_says_what_it_is(authority, pair, tmp_path):
    certificate, key = authority.sign("old client", extension=None)
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, f"TLS_CLIENT_CA={authority.certificate}", log=stderr) as server:
        for version in ["-tls1_2", "-tls1_3"]:
            said = s_client(server, "-ign_eof", version, "-cert", certificate, "-key", key, speech=PAGE.decode())
            assert "200 OK" not in said and "alert" in said
    reasons = re.findall(f"log 3: {NAME}TLS failed: (.*)", log.read_text())
    assert len(reasons) == 2 and all("X.509 version 1" in reason and "openssl" in reason for reason in reasons)


def test_an_expired_certificate_is_served_and_a_warning(authority, tmp_path):
    pair = authority.sign("short-lived", days=0)
    expires = end_of(pair[0])
    while time.time() <= expires + 1:
        time.sleep(0.1)
    day = time.strftime("%Y-%m-%d", time.gmtime(expires))
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, log=stderr) as server:
        assert f"log 2: certificate 1 in {pair[0]} expired on {day}" in log.read_text()
        assert reload(server) == "PORTAL_STATUS_OK"
        assert log.read_text().count(f"expired on {day}") == 2
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            shown(server, trusting(authority))


def test_a_certificate_that_will_expire_is_warned_of_and_a_metric_tells_when(authority, tmp_path):
    soon, later = authority.sign("soon", days=13), authority.sign("later", extension="subjectAltName=DNS:later")
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(later, f"CERTIFICATE={soon[0]},{soon[1]}", log=stderr) as server:
        context = trusting(authority, check_hostname=False)
        expires = end_of(soon[0])
        assert metric(server, context, 19) == expires
        day = time.strftime("%Y-%m-%d", time.gmtime(expires))
        assert f"log 2: certificate 1 in {soon[0]} expires on {day}\n" in log.read_text()
        assert reload(server) == "PORTAL_STATUS_OK"
        assert log.read_text().count(" expires on ") == 2
        shutil.copy(later[0], soon[0]), shutil.copy(later[1], soon[1])
        assert reload(server) == "PORTAL_STATUS_OK"
        assert log.read_text().count(" expires on ") == 2
        assert metric(server, context, 19) == end_of(later[0]) > expires
    with running([SERVER]) as server:
        assert metric(server, None, 19) == 0
        server.stop()


def test_nothing_is_said_of_a_certificate_that_is_as_it_should_be(pair, authority, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, f"TLS_CLIENT_CA={authority.certificate}", log=stderr):
        pass
    assert not re.search("log [12]:", log.read_text())


# ---- certificates by name ----


def test_a_client_is_shown_the_certificate_of_the_name_that_it_asks_for(authority, pair):
    names = {"a": "DNS:a.example,DNS:*.a.example", "b": "DNS:B.example,IP:127.0.0.2", "c": "DNS:c.a.example"}
    pairs = {name: authority.sign(name, extension=f"subjectAltName={dns}") for name, dns in names.items()}
    added = [f"CERTIFICATE={certificate},{key}" for certificate, key in pairs.values()]
    with serving(pair, *added) as server:
        context = trusting(authority, check_hostname=False)
        for _ in range(2):
            for name, of in [("a.example", "a"), ("x.a.example", "a"), ("b.example", "b"), ("B.Example", "b"),
                             ("c.a.example", "c")]:
                assert shown(server, trusting(authority), name) == der_of(pairs[of][0]), name
            for name in ["x.y.a.example", "x.b.example", "example", "other.example", "127.0.0.1", None]:
                assert shown(server, context, name) == der_of(pair[0]), name
            assert shown(server, trusting(authority)) == der_of(pair[0])
            assert reload(server) == "PORTAL_STATUS_OK"


def test_of_two_certificates_for_one_name_that_is_shown_that_the_client_can_verify(authority):
    rsa, ec = authority.sign("rsa", kind=RSA), authority.sign("ec")
    with serving(rsa, f"CERTIFICATE={ec[0]},{ec[1]}") as server:
        for version in ["-tls1_2", "-tls1_3"]:
            for schemes, subject in [("ECDSA+SHA256:RSA-PSS+SHA256", "ec"), ("RSA-PSS+SHA256", "rsa")]:
                said = s_client(server, version, "-servername", "localhost", "-sigalgs", schemes)
                assert re.search(f"subject=CN ?= ?{subject}\n", said), said


def test_all_certificates_are_read_again_or_none(authority, pair, tmp_path):
    first, second = (authority.sign(name, extension="subjectAltName=DNS:more") for name in ["more", "even-more"])
    default, more = (tmp_path / "default.pem", tmp_path / "default.key"), (tmp_path / "more.pem", tmp_path / "more.key")

    def put(source, target):
        for one, other in zip(source, target):
            shutil.copy(one, other)

    put(pair, default)
    put(first, more)
    with serving(default, f"CERTIFICATE={more[0]},{more[1]}") as server:
        context = trusting(authority)
        put(authority.sign("new"), default)
        put((first[0], second[1]), more)
        assert reload(server) == "PORTAL_STATUS_TLS"
        assert [shown(server, context), shown(server, context, "more")] == [der_of(pair[0]), der_of(first[0])]
        put(second, more)
        assert reload(server) == "PORTAL_STATUS_OK"
        assert [shown(server, context), shown(server, context, "more")] == [der_of(default[0]), der_of(second[0])]


def start_fails(*settings):
    """What the log says of a start that answers TLS."""
    done = subprocess.run([SERVER, *settings], stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == 2 and "start: PORTAL_STATUS_TLS" in done.stderr
    return done.stderr


def test_a_certificate_that_no_client_would_be_shown_is_refused(authority, pair):
    assert "the certificate is missing" in start_fails(f"CERTIFICATE={pair[0]},{pair[1]}")
    settings = [f"TLS_CERTIFICATE={pair[0]}", f"TLS_KEY={pair[1]}"]
    nameless = authority.sign("nameless", extension="subjectAltName=IP:127.0.0.1")
    said = start_fails(*settings, f"CERTIFICATE={nameless[0]},{nameless[1]}")
    assert re.search(f"{nameless[0]} has no name that clients could ask for", said)
    assert "is not the private key of" in start_fails(*settings, f"CERTIFICATE={nameless[0]},{pair[1]}")


# ---- what a server knows of a client ----


@pytest.mark.parametrize("way", WAYS)
def test_the_server_knows_version_cipher_name_and_certificate(authority, pair, way):
    subject = "/C=DE/O=Gr\u00fcn, S\u00f6hne \\+ Co/CN=client"
    certificate, key = authority.sign("client", extension=FOR_CLIENTS, subject=subject)
    written = "CN=client,O=Gr\u00fcn\\, S\u00f6hne \\+ Co,C=DE"
    with serving(pair, f"TLS_CLIENT_CA={authority.certificate}", *WAYS[way]) as server:
        for version, cipher in [("TLSv1_2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
                                ("TLSv1_3", "TLS_AES_256_GCM_SHA384")]:
            number = ssl.TLSVersion[version]
            context = trusting(authority, check_hostname=False, minimum_version=number, maximum_version=number)
            context.load_cert_chain(certificate, key)
            if version == "TLSv1_2":
                context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
            for name in ["localhost", "Other.Example", "127.0.0.1"]:
                with websocket(server, "/tls", context, name) as client:
                    asked = "" if name[0].isdigit() else name.lower()
                    known = f"{version.replace('_', '.')}|{cipher}|{asked}"
                    assert client.response.headers["X-TLS"] == known
                    assert client.response.headers["X-Subject"].encode("latin-1").decode() == written
                    *facts, pem, told = client.recv(DEADLINE).split("|")
                    assert "|".join(facts) == known and told == written
                    lines = pem.splitlines()
                    assert lines[0] == "-----BEGIN CERTIFICATE-----" and lines[-1] == "-----END CERTIFICATE-----"
                    assert ssl.PEM_cert_to_DER_cert(pem) == der_of(certificate)


def test_the_server_knows_nothing_of_a_client_that_shows_nothing(server, authority):
    with websocket(server, "/tls", trusting(authority)) as client:
        assert client.recv(DEADLINE) == f"TLSv1.3|{client.socket.cipher()[0]}|localhost||"
    with running([SERVER]) as plain, websocket(plain, "/tls", None) as client:
        assert client.recv(DEADLINE) == "||||" and client.response.headers["X-TLS"] == "||"


def test_a_resumed_session_tells_the_same(authority, pair):
    certificate, key = authority.sign("client", extension=FOR_CLIENTS)
    context = trusting(authority, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.load_cert_chain(certificate, key)
    session, told = None, set()
    with serving(pair, f"TLS_CLIENT_CA={authority.certificate}") as server:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
                    assert secure.session_reused == bool(session)
                    session = secure.session
                    secure.sendall(upgrade().replace(b"GET / ", b"GET /tls "))
                    answer = secure.recv(65536).decode("latin-1")
                    told.add(re.search("X-TLS: (.*)\r\nX-Subject: (.*)\r\n", answer).groups())
    assert told == {("TLSv1.2|TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384|localhost", "CN=client")}


# ---- revocation ----


def test_a_proxy_header_comes_before_tls(authority, pair):
    proxy_header = b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n"
    with serving(pair, "PROXY_PROTOCOL=1") as server:
        for pieces in [[proxy_header], [proxy_header[:9], proxy_header[9:]]]:
            stream = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
            for piece in pieces:
                stream.sendall(piece)
            secure = trusting(authority).wrap_socket(stream, server_hostname="localhost")
            with websockets.sync.client.connect("ws://localhost/", sock=secure, open_timeout=DEADLINE,
                                                proxy=None) as client:
                client.send("hello")
                assert client.recv(DEADLINE) == "hello"
        # The TLS handshake alone is no PROXY header.
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                trusting(authority).wrap_socket(plain, server_hostname="localhost")


def lets_in(server, pair):
    """Whether a client with this certificate is served, in each version."""
    answers = {"HTTP/1.1 200 OK" in s_client(server, "-ign_eof", version, "-cert", pair[0], "-key", pair[1],
                                             *pair[2:], speech=PAGE.decode()) for version in ["-tls1_2", "-tls1_3"]}
    assert len(answers) == 1
    return answers.pop()


def test_a_client_with_a_revoked_certificate_is_refused(authority, pair, tmp_path):
    good, bad = (authority.sign(name, extension=FOR_CLIENTS) for name in ["good", "bad"])
    served, log = tmp_path / "list", tmp_path / "log"
    shutil.copy(authority.revoke(), served)
    settings = [f"TLS_CLIENT_CA={authority.certificate}", f"TLS_CLIENT_CRL={served}"]
    with log.open("w") as stderr, serving(pair, *settings, log=stderr) as server:
        assert lets_in(server, good) and lets_in(server, bad)
        shutil.copy(authority.revoke(bad[0]), served)
        assert reload(server) == "PORTAL_STATUS_OK"
        assert lets_in(server, good) and not lets_in(server, bad)
        assert log.read_text().count("TLS failed: invalid peer certificate: Revoked") == 2
        served.write_text("")
        assert reload(server) == "PORTAL_STATUS_TLS"
        assert "contains no revocation list" in log.read_text()
        assert lets_in(server, good) and not lets_in(server, bad)


def test_a_client_is_refused_unless_each_issuer_has_a_list(authority, pair, tmp_path):
    below = authority.intermediate("below")
    certificate, key = below.sign("client", extension=FOR_CLIENTS)
    client = certificate, key, "-cert_chain", below.certificate
    lists = [authority.revoke(), below.revoke()]
    both = tmp_path / "both"
    both.write_text("".join(Path(one).read_text() for one in lists))
    trusted = f"TLS_CLIENT_CA={authority.certificate}"
    for file, allowed in [(lists[0], False), (lists[1], False), (both, True)]:
        with serving(pair, trusted, f"TLS_CLIENT_CRL={file}") as server:
            assert lets_in(server, client) == allowed, file


def test_a_client_is_refused_while_the_list_is_out_of_date(authority, pair, tmp_path):
    client = authority.sign("client", extension=FOR_CLIENTS)
    served, log = tmp_path / "list", tmp_path / "log"
    shutil.copy(authority.revoke(days=-1), served)
    settings = [f"TLS_CLIENT_CA={authority.certificate}", f"TLS_CLIENT_CRL={served}"]
    with log.open("w") as stderr, serving(pair, *settings, log=stderr) as server:
        assert not lets_in(server, client)
        assert f"log 2: revocation list 1 in {served} expired on " in log.read_text()
        shutil.copy(authority.revoke(), served)
        assert reload(server) == "PORTAL_STATUS_OK"
        assert lets_in(server, client)


def test_a_list_of_no_use_is_refused(authority, pair):
    settings = [f"TLS_CERTIFICATE={pair[0]}", f"TLS_KEY={pair[1]}"]
    trusted = f"TLS_CLIENT_CA={authority.certificate}"
    good, old = authority.revoke(), authority.revoke(version=1)
    assert "is of no use without certificate authorities" in start_fails(*settings, f"TLS_CLIENT_CRL={good}")
    assert "crl_extensions" in start_fails(*settings, trusted, f"TLS_CLIENT_CRL={old}")
    assert "contains no revocation list" in start_fails(*settings, trusted, f"TLS_CLIENT_CRL={pair[0]}")
    broken = authority.file("broken.crl")
    Path(broken).write_text("-----BEGIN X509 CRL-----\nYWJj\n-----END X509 CRL-----\n")
    assert "contains an unusable revocation list" in start_fails(*settings, trusted, f"TLS_CLIENT_CRL={broken}")
    assert "cannot be read" in start_fails(*settings, trusted, f"TLS_CLIENT_CRL={authority.file('missing')}")


# ---- reading again ----


def reload(server):
    server.process.send_signal(1)
    return server.process.stdout.readline().strip()


def test_new_clients_get_the_new_pair_and_a_bad_one_changes_nothing(authority, tmp_path):
    first, second = authority.sign("first"), authority.sign("second")
    served = tmp_path / "served.pem", tmp_path / "served.key"

    def put(pair):
        for source, target in zip(pair, served):
            shutil.copy(source, target)

    put(first)
    context, log = trusting(authority), tmp_path / "log"
    with log.open("w") as stderr, serving(served, log=stderr) as server, connected(server, context) as early:
        assert shown(server, context) == der_of(first[0])

        put(second)
        assert reload(server) == "PORTAL_STATUS_OK"
        assert shown(server, context) == der_of(second[0])

        put((first[0], second[1]))
        assert reload(server) == "PORTAL_STATUS_TLS"
        assert re.search(r"cannot set up TLS: \S+ is not the private key of", log.read_text())
        assert shown(server, context) == der_of(second[0])

        served[0].unlink()
        assert reload(server) == "PORTAL_STATUS_TLS"
        assert shown(server, context) == der_of(second[0])

        assert early.getpeercert(binary_form=True) == der_of(first[0])
        early.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_to_end(early).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_server_without_tls_has_nothing_to_read_again():
    with running([SERVER]) as server:
        assert reload(server) == "PORTAL_STATUS_TLS"
        server.stop()


# ---- the handshake ----


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_both_versions_are_spoken_and_sessions_resumed(server, authority, tmp_path, version):
    session = tmp_path / "session"
    # In TLS 1.3 the tickets come after the handshake, so something has to be read first.
    request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    trust = ["-ign_eof", "-CAfile", authority.certificate, "-verify_return_error", f"-tls{version}"]

    first = s_client(server, *trust, "-sess_out", session, speech=request)
    assert f"New, TLSv{version.replace('_', '.')}" in first and "HTTP/1.1 200 OK" in first
    assert "Verify return code: 0 (ok)" in first

    again = s_client(server, *trust, "-sess_in", session, speech=request)
    assert f"Reused, TLSv{version.replace('_', '.')}" in again and "HTTP/1.1 200 OK" in again


def test_an_older_version_is_refused(server):
    # At another security level OpenSSL itself would not offer it.
    said = s_client(server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert re.search("alert (protocol version|handshake failure)", said) and "Cipher is (NONE)" in said


def test_keys_are_exchanged_in_the_post_quantum_way_that_browsers_offer_first(server, authority):
    """Python's own OpenSSL may be too old for it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(authority.certificate)
    context.set_verify(SSL.VERIFY_PEER)
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", DEADLINE, 0))
        client = SSL.Connection(context, plain)
        client.set_tlsext_host_name(b"localhost")
        client.set_connect_state()
        client.do_handshake()
        assert client.get_group_name() == "X25519MLKEM768"
        client.sendall(PAGE)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


P_521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]


@pytest.mark.parametrize("kind", [P_521, ["-newkey", "rsa:8192"]], ids=["P-521", "RSA with 8192 bits"])
def test_the_largest_keys_serve_and_let_in(tmp_path, kind):
    largest = Authority(tmp_path, "largest", P_521)
    certificate, key = largest.sign("localhost", extension=f"{LOCALHOST}\nextendedKeyUsage=serverAuth,clientAuth", kind=kind)
    with serving((certificate, key), f"TLS_CLIENT_CA={largest.certificate}") as server:
        for version in ["-tls1_2", "-tls1_3"]:
            said = s_client(server, "-ign_eof", version, "-CAfile", largest.certificate, "-verify_return_error", "-cert",
                            certificate, "-key", key, speech=PAGE.decode())
            assert "Verify return code: 0 (ok)" in said and "HTTP/1.1 200 OK" in said, said


def test_http_1_1_is_what_is_agreed_on(server):
    assert "ALPN protocol: http/1.1" in s_client(server, "-alpn", "h2,http/1.1")
    assert "No ALPN negotiated" in s_client(server)
    assert "alert no application protocol" in s_client(server, "-alpn", "h2")


def test_clients_show_a_certificate_of_the_authority(authority, pair, tmp_path):
    good = authority.sign("client", extension="extendedKeyUsage=clientAuth")
    bad = Authority(tmp_path, "stranger").sign("client", extension="extendedKeyUsage=clientAuth")
    request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, f"TLS_CLIENT_CA={authority.certificate}", log=stderr) as server:
        for version in ["-tls1_2", "-tls1_3"]:
            def ask(*certificate):
                return s_client(server, "-ign_eof", version, *certificate, speech=request)

            assert "HTTP/1.1 200 OK" in ask("-cert", good[0], "-key", good[1])
            nameless, foreign = ask(), ask("-cert", bad[0], "-key", bad[1])
            assert re.search("alert (certificate required|handshake failure)", nameless), nameless
            assert re.search("alert (unknown ca|decrypt error|bad certificate)", foreign), foreign
            assert "200 OK" not in nameless + foreign
    assert len(re.findall(f"log 3: {NAME}TLS failed: ", log.read_text())) == 4


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed_by_each_loop_and_after_the_files_were_read_again(authority, pair, tmp_path, version):
    session = tmp_path / "session"
    with serving(pair, "THREADS=4") as server:
        def ask(*arguments):
            return s_client(server, "-ign_eof", version, *arguments, speech=PAGE.decode())

        ask("-sess_out", session)
        for _ in range(2):
            # Connections stay, so that each loop has its turn.
            with contextlib.ExitStack() as stack:
                for _ in range(5):
                    assert "Reused, " in ask("-sess_in", session)
                    stack.enter_context(connected(server, trusting(authority)))
            assert reload(server) == "PORTAL_STATUS_OK"


def test_who_shows_a_certificate_shows_it_again_after_the_files_were_read_again(authority, pair, tmp_path):
    session = tmp_path / "session"
    certificate, key = authority.sign("client", extension=FOR_CLIENTS)
    for version in ["-tls1_2", "-tls1_3"]:
        with serving(pair, f"TLS_CLIENT_CA={authority.certificate}") as server:
            def ask(*arguments):
                return s_client(server, "-ign_eof", version, "-cert", certificate, "-key", key, *arguments,
                                speech=PAGE.decode())

            ask("-sess_out", session)
            assert "Reused, " in ask("-sess_in", session)
            assert reload(server) == "PORTAL_STATUS_OK"
            after = ask("-sess_in", session)
            assert "New, " in after and "HTTP/1.1 200 OK" in after


def test_a_client_may_change_its_keys(server):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:

        def say(line):
            client.stdin.write(line)
            client.stdin.flush()

        # A command of openssl's: change your keys, and ask the server to do the same.
        for _ in range(3):
            say(b"K\n")
            while b"KEYUPDATE" not in client.stdout.readline():
                assert client.poll() is None
        say(PAGE)
        assert b"HTTP/1.1 200 OK" in client.stdout.read()


def test_both_sides_say_goodbye(server, authority):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        context = trusting(authority, minimum_version=version, maximum_version=version)
        with connected(server, context) as secure:
            secure.sendall(request)
            # An end without close_notify would raise.
            assert read_to_end(secure).startswith(b"HTTP/1.1 200 OK\r\n")
        with connected(server, context) as secure:
            secure.unwrap()  # says goodbye, and waits for the answer


# ---- who does not speak TLS, and where it is not spoken ----


def answer_to(server, first):
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
        plain.sendall(first)
        return read_to_end(plain)


def test_a_plain_request_is_told_that_this_is_tls(pair, tmp_path):
    requests = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"G"]
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, log=stderr) as server:
        for first in requests:
            answer = answer_to(server, first)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"wss://" in answer
    assert len(re.findall(f"log 3: {NAME}request refused: 400 ", log.read_text())) == len(requests)


def test_a_tls_handshake_that_is_not_finished_times_out_and_the_log_says_whose(pair, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, "HANDSHAKE_TIMEOUT=300", log=stderr) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
            read_to_end(plain)
    assert re.search(f"log 3: {NAME}handshake timed out: its TLS handshake is incomplete", log.read_text())


def test_garbage_ends_at_once(server):
    answer = answer_to(server, b"\x00" * 100)
    assert answer[:1] in (b"", b"\x15")  # nothing, or an alert


def test_a_message_in_tiny_records_is_not_kept_for_ever(pair, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr, serving(pair, log=stderr) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
            # A ClientHello of 65,532 bytes, each in a record of its own.
            hello = b"\x01\x00\xff\xfc" + bytes(30_000)
            with contextlib.suppress(OSError):
                plain.sendall(b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in hello))
                plain.recv(1)
    assert re.search(f"{NAME}TLS failed: handshake message in too many records", log.read_text())


def test_tls_to_a_plain_port_is_refused_by_an_alert(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr, running([SERVER], stderr=stderr) as server:
        assert "alert handshake failure" in s_client(server)
        server.stop()
    assert re.search(f"log 3: {NAME}TLS handshake on a port without TLS", log.read_text())


def client_hello():
    outgoing = ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    return outgoing.read()


def test_the_deadline_of_the_handshake_covers_tls(pair):
    hello = client_hello()
    with serving(pair, "HANDSHAKE_TIMEOUT=300") as server:
        for first in [b"", hello[:1], hello[:-1], hello]:
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError):  # what came too late was not read
                answer_to(server, first)
            assert time.monotonic() - began >= 0.25, first


def test_the_deadline_of_the_handshake_covers_the_request_after_tls(authority, pair):
    with serving(pair, "HANDSHAKE_TIMEOUT=3000") as server, connected(server, trusting(authority)) as secure:
        secure.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ssl.SSLEOFError):
            read_to_end(secure)


PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def upgrade(more_headers=""):
    return ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"{more_headers}\r\n").encode()


@pytest.mark.parametrize("way", WAYS)
def test_limits_and_pages_hold_over_tls(authority, pair, way):
    context = trusting(authority)
    for setting, status in [("MAX_CONNECTIONS=1", b"503"), ("MAX_CONNECTIONS_PER_IP=1", b"429")]:
        with serving(pair, setting, *WAYS[way]) as server, connected(server, context) as first:
            first.sendall(upgrade())
            assert first.recv(65536).startswith(b"HTTP/1.1 101 ")
            with connected(server, context) as second:
                assert read_to_end(second).startswith(b"HTTP/1.1 " + status)
    with serving(pair, "ORIGINS=https://good.example", *WAYS[way]) as server:
        for origin, status in [("https://bad.example", b"403"), ("https://good.example", b"101")]:
            with connected(server, context) as secure:
                secure.sendall(upgrade(f"Origin: {origin}\r\n"))
                assert secure.recv(65536).startswith(b"HTTP/1.1 " + status)
        with connected(server, context) as secure:
            secure.sendall(PAGE)
            assert read_to_end(secure).startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"wss://" in answer_to(server, PAGE)


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_over_a_limit_hardly_costs_a_descriptor(authority, pair, way):
    with serving(pair, "MAX_CONNECTIONS=1", "CLOSE_TIMEOUT=600000", *WAYS[way]) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(connected(server, trusting(authority)))
        first.sendall(upgrade())
        assert first.recv(65536).startswith(b"HTTP/1.1 101 ")
        before = descriptors(server)
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE))
                  for _ in range(100)]
        for plain in silent[16:]:
            assert plain.recv(100) == b"\x15\x03\x01\x00\x02\x02\x28"  # an alert
            assert plain.recv(100) == b""
        assert descriptors(server) <= before + 20
        # Those that are gone make room to be told.
        for plain in silent:
            plain.close()
        deadline = time.monotonic() + DEADLINE
        while descriptors(server) > before + 2:  # of io_uring's own, perhaps
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with connected(server, trusting(authority)) as second:
            assert read_to_end(second).startswith(b"HTTP/1.1 503 ")


# ---- ways to go ----


def without_a_word(server, context):
    socket.create_connection(("127.0.0.1", server.port)).close()


def with_garbage(server, context):
    answer_to(server, b"\x16\x03\x01\xff\xff")


def without_tls(server, context):
    answer_to(server, PAGE)


def in_the_middle_of_the_handshake(server, context):
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(client_hello())
        plain.recv(1)


def without_a_request(server, context):
    with connected(server, context) as secure:
        secure.unwrap()


def cut_off(server, context):
    with connected(server, context) as secure:
        secure.sendall(upgrade())
        assert secure.recv(65536).startswith(b"HTTP/1.1 101 ")
        os.close(secure.detach())


def with_a_broken_record(server, context):
    with connected(server, context) as secure:
        secure.sendall(upgrade())
        assert secure.recv(65536).startswith(b"HTTP/1.1 101 ")
        with socket.socket(fileno=os.dup(secure.fileno())) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match="alert bad record mac"):
            secure.recv(65536)


@pytest.mark.parametrize("go", [without_a_word, with_garbage, without_tls, in_the_middle_of_the_handshake, without_a_request,
                                cut_off, with_a_broken_record], ids=lambda go: go.__name__)
def test_however_a_client_goes_it_makes_room_for_another(authority, pair, go):
    context = trusting(authority)
    with serving(pair, "MAX_CONNECTIONS=2", "MAX_CONNECTIONS_PER_IP=2") as server:
        for _ in range(3):
            wait_for_room(server, context)
            go(server, context)


def test_who_is_too_slow_makes_room_for_another(authority, pair):
    context = trusting(authority)
    with serving(pair, "MAX_CONNECTIONS=2", "MAX_CONNECTIONS_PER_IP=2", "HANDSHAKE_TIMEOUT=500") as server:
        for _ in range(3):
            wait_for_room(server, context)
            with contextlib.suppress(ConnectionResetError):
                answer_to(server, client_hello())


def wait_for_room(server, context):
    until = time.monotonic() + DEADLINE
    while not enters(server, context):
        assert time.monotonic() < until, "there is no room"


def enters(server, context):
    try:
        with connected(server, context) as secure:
            secure.sendall(PAGE)
            return read_to_end(secure).startswith(b"HTTP/1.1 200 OK\r\n")
    except OSError:  # it was too slow itself
        return False


def test_a_server_that_is_refused_memory_in_handshakes_serves_again(authority, pair):
    context = trusting(authority)
    # Threads would have address space of their own.
    command = ["env", "MALLOC_ARENA_MAX=1", SERVER, f"TLS_CERTIFICATE={pair[0]}", f"TLS_KEY={pair[1]}"]
    with running(command, stderr=subprocess.DEVNULL) as server:
        assert shown(server, context) == der_of(pair[0])
        process = server.process.pid
        size = int(re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1]) * 1024
        resource.prlimit(process, resource.RLIMIT_AS, (size + 512 * 1024, resource.RLIM_INFINITY))
        with contextlib.ExitStack() as stack:
            with pytest.raises(OSError):
                for _ in range(5000):
                    plain = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=2))
                    stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                assert shown(server, context) == der_of(pair[0])
                break
            except OSError:
                assert time.monotonic() < deadline, "it serves nobody any more"
                time.sleep(0.1)
        server.stop()


def test_a_request_may_come_byte_by_byte(server, authority):
    """Each record of the client, of the handshake too, is cut into single bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until_done(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        plain.send(bytes([byte]))
                    incoming.write(plain.recv(65536))

        until_done(secure.do_handshake)
        secure.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for byte in outgoing.read():
            plain.send(bytes([byte]))
        assert until_done(lambda: secure.read(65536)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_many_handshakes_at_once(server, authority):
    failures = []

    def shake_hands():
        try:
            for _ in range(10):
                shown(server, trusting(authority))
        except OSError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=shake_hands) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert failures == [] and not any(thread.is_alive() for thread in threads)
