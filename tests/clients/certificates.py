"""Certificates for tests, made by openssl in a folder of the test's own."""

import subprocess
from pathlib import Path

RSA = ["-newkey", "rsa:2048"]
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
LOCALHOST = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stderr=subprocess.PIPE)


class Authority:
    """A certificate authority, and what it signs. Each name is that of a file in its folder."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = Path(folder), name
        self.certificate, self.key = self.file(f"{name}.pem"), self.file(f"{name}.key")
        openssl("req", "-x509", *EC, "-nodes", "-subj", f"/CN={name}", "-days", "2", "-keyout", self.key, "-out",
                self.certificate)

    def file(self, name):
        return str(self.folder / name)

    def sign(self, name, *, kind=EC, extension=LOCALHOST):
        """A certificate and its key (PKCS#8), as the names of their files."""
        request, extensions = self.file(f"{name}.csr"), self.file(f"{name}.ext")
        certificate, key = self.file(f"{name}.pem"), self.file(f"{name}.key")
        Path(extensions).write_text(extension)
        openssl("req", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", certificate)
        return certificate, key

    def intermediate(self, name):
        """An authority that this one has signed."""
        below = Authority(self.folder, name)
        below.certificate, below.key = self.sign(name, extension="basicConstraints=critical,CA:true")
        return below
