"""Certificates of the tests' own, and a Secret as the kubelet mounts it."""

import ssl
import subprocess


class Authority:
    """An authority of the test's own, in a directory of its own."""

    def __init__(self, directory, name="the authority"):
        self.dir = directory
        self.dir.mkdir()
        self.trusted = self.dir / "trusted"     # a directory with nothing but the certificate
        self.trusted.mkdir()
        self.ca = self.trusted / "ca.crt"
        self.serial = 0
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", self.dir / "ca.key", "-out", self.ca)

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    def issue(self, directory, name, addresses="DNS:localhost,IP:127.0.0.1", days=1):
        """tls.crt and tls.key in the directory."""
        self.serial += 1
        directory.mkdir(exist_ok=True)
        request, ext = self.dir / "request", self.dir / "ext"
        ext.write_text(f"subjectAltName={addresses}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", directory / "tls.key", "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-days", days,
                      "-set_serial", self.serial, "-extfile", ext, "-out", directory / "tls.crt")
        return directory

    def server(self, name, **over):
        """A server's side of TLS, with a certificate issued for it."""
        directory = self.issue(self.dir / name, name, **over)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        return tls


class Secret:
    """A directory as the kubelet mounts a Secret: names that link through ..data, which is swapped."""

    def __init__(self, path, authority, name):
        self.path, self.authority, self.turn = path, authority, 0
        path.mkdir()
        self.swap(name)
        for f in ("tls.crt", "tls.key"):
            (path / f).symlink_to(f"..data/{f}")

    def swap(self, name, spoil=None, **over):
        self.turn += 1
        new = self.authority.issue(self.path / f"..{self.turn}", name, **over)
        if spoil:
            (new / spoil).write_text("no PEM\n")
        (self.path / "..tmp").symlink_to(new.name)
        (self.path / "..tmp").rename(self.path / "..data")

    @property
    def config(self):
        return {"certificate": str(self.path / "tls.crt"), "key": str(self.path / "tls.key")}
