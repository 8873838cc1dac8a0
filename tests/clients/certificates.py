"""Certificates for tests, made by openssl in a folder of the test's own."""

import subprocess
import time
from pathlib import Path

RSA = ["-newkey", "rsa:2048"]
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
LOCALHOST = "subjectAltName=DNS:localhost,IP:127.0.0.1"
FOR_CLIENTS = "extendedKeyUsage=clientAuth"
DAYS = 90  # longer than a server warns ahead

REVOCATION = """
[ca]
default_ca = authority
[authority]
database = {folder}/{name}.index
default_md = sha256
{extensions}
[list]
authorityKeyIdentifier = keyid
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stderr=subprocess.PIPE)


def is_version_1(certificate):
    command = ["openssl", "x509", "-in", certificate, "-noout", "-text"]
    return "Version: 1 (0x0)" in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Authority:
    """A certificate authority, and what it signs. Each name is that of a file in its folder."""

    def __init__(self, folder, name="authority", kind=EC):
        self.folder, self.name = Path(folder), name
        self.certificate, self.key = self.file(f"{name}.pem"), self.file(f"{name}.key")
        openssl("req", "-x509", *kind, "-nodes", "-subj", f"/CN={name}", "-days", str(DAYS), "-keyout", self.key, "-out",
                self.certificate)

    def file(self, name):
        return str(self.folder / name)

    def sign(self, name, *, kind=EC, extension=LOCALHOST, days=DAYS, subject=None):
        """A certificate and its key (PKCS#8), as the names of their files. With an extension of None the
        certificate is of X.509 version 1."""
        extensions = self.file(f"{name}.ext")
        request, key = self.request(name, kind, subject)
        if extension is None:
            return self.sign_version_1(name, request), key
        Path(extensions).write_text(extension)
        return self.answer(name, request, "-extfile", extensions, "-days", days), key

    def request(self, name, kind, subject=None):
        request, key = self.file(f"{name}.csr"), self.file(f"{name}.key")
        openssl("req", *kind, "-nodes", "-utf8", "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request)
        return request, key

    def answer(self, name, request, *settings):
        certificate = self.file(f"{name}.pem")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                *settings, "-out", certificate)
        return certificate

    def sign_version_1(self, name, request):
        """Before version 3.2 of openssl that is what is made where nothing else is asked for. From then on
        it is what is made where no extension at all is to be in it."""
        nothing = self.file("nothing.ext")
        Path(nothing).write_text("subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n")
        for settings in [[], ["-extfile", nothing]]:
            certificate = self.answer(name, request, "-days", DAYS, *settings)
            if is_version_1(certificate):
                return certificate
        raise AssertionError("openssl makes no certificate of version 1")

    def revoke(self, *certificates, version=2, days=DAYS):
        """The name of a file with a list of revoked certificates, which ends `days` from now."""
        name = f"{self.name}-{len(certificates)}-{version}-{days}"
        configuration, index, revoked = self.file(f"{name}.cnf"), self.file(f"{name}.index"), self.file(f"{name}.crl")
        Path(index).write_text("")
        extensions = "crl_extensions = list" if version == 2 else ""
        Path(configuration).write_text(REVOCATION.format(folder=self.folder, name=name, extensions=extensions))
        command = ["ca", "-config", configuration, "-cert", self.certificate, "-keyfile", self.key]
        for certificate in certificates:
            openssl(*command, "-revoke", certificate)
        end = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + days * 24 * 60 * 60))
        openssl(*command, "-gencrl", "-crl_lastupdate", "200101000000Z", "-crl_nextupdate", end, "-out", revoked)
        return revoked

    def intermediate(self, name, extension="basicConstraints=critical,CA:true"):
        """An authority that this one has signed."""
        below = Authority(self.folder, name)
        below.certificate, below.key = self.sign(name, extension=extension)
        return below
