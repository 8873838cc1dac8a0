"""Proxies as Debian packages them, each in front of one server: how they are configured and run.

A proxy runs in the foreground, without privileges, with all its files in a folder of its own, on a port
that stays reserved for it.
"""

import contextlib
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from program import DEADLINE

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where servers are, which is not in everybody's PATH


# ---- configurations ----
#
# Each is given its folder and port, and where the server is: `host` and `port`, or `socket`. It answers
# the command that starts the proxy, and the files that this reads, by their names.


def lighttpd(folder, port, server):
    backend = f'"socket" => "{server.socket}"' if server.socket else f'"host" => "127.0.0.1", "port" => {server.port}'
    configuration = f"""
        server.modules = ("mod_proxy")
        server.document-root = "{folder}"
        server.bind = "127.0.0.1"
        server.port = {port}
        proxy.server = ("" => (({backend})))
        proxy.header = ("upgrade" => "enable")
    """
    return ["lighttpd", "-D", "-f", f"{folder}/lighttpd.conf"], {"lighttpd.conf": configuration}


def nginx(folder, port, server):
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    address = f"unix:{server.socket}" if server.socket else f"127.0.0.1:{server.port}"
    configuration = f"""
        daemon off;
        worker_processes 1;
        pid {folder}/nginx.pid;
        error_log stderr;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            {temporary}
            upstream portal {{ server {address}; }}
            map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://portal;
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                }}
                # As short as it can be: HTTP/1.0 before nginx 1.29.7.
                location = /health {{ proxy_pass http://portal; }}
                location = /health/1.0 {{ proxy_pass http://portal/health; proxy_http_version 1.0; }}
            }}
        }}
    """
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    return command, {"nginx.conf": configuration}


HAPROXY_DEFAULTS = f"""defaults
    timeout connect {DEADLINE}s
    timeout client {DEADLINE}s
    timeout server {DEADLINE}s
    timeout tunnel 1h"""


def haproxy(folder, port, server):
    address = f"unix@{server.socket}" if server.socket else f"127.0.0.1:{server.port}"
    configuration = f"""
        {HAPROXY_DEFAULTS}
            mode http

        frontend clients
            bind 127.0.0.1:{port}
            stats enable
            stats uri /stats
            default_backend servers

        backend servers
            option httpchk GET /health
            server portal {address} check inter 100ms
    """
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"], {"haproxy.cfg": configuration}


def httpd_with(modules, proxy_pass):
    def httpd(folder, port, server):
        load = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in ["mpm_event", "authz_core", "proxy", *modules])
        where = f"unix:{server.socket}|%s://localhost" if server.socket else f"%s://127.0.0.1:{server.port}"
        passes = "".join(f"ProxyPass {path} {where % scheme}{path} {rest}\n" for path, scheme, rest in proxy_pass)
        configuration = f"""
            ServerRoot {folder}
            DefaultRuntimeDir {folder}
            PidFile httpd.pid
            ErrorLog /dev/stderr
            ServerName localhost
            Listen 127.0.0.1:{port}
            {load}
            StartServers 1
            ServerLimit 1
            ThreadLimit 256
            ThreadsPerChild 256
            MaxRequestWorkers 256
            {passes}
        """
        return ["apache2", "-D", "FOREGROUND", "-f", f"{folder}/httpd.conf"], {"httpd.conf": configuration}

    return httpd


def caddy(folder, port, server):
    address = f"unix/{server.socket}" if server.socket else f"127.0.0.1:{server.port}"
    configuration = f"""
        {{
            admin off
            auto_https off
        }}
        http://127.0.0.1:{port} {{
            bind 127.0.0.1
            reverse_proxy {address}
        }}
    """
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"], {"Caddyfile": configuration}


PROXIES = {
    "lighttpd": lighttpd,
    "nginx": nginx,
    "haproxy": haproxy,
    # The way since 2.4.47, and the one before.
    "httpd": httpd_with(["proxy_http"], [("/", "http", "upgrade=websocket")]),
    "httpd-wstunnel": httpd_with(
        ["proxy_http", "proxy_wstunnel"],
        [*((page, "http", "") for page in ["/health", "/last", "/nowhere"]), ("/", "ws", "")]),
    "caddy": caddy,
}


# ---- configurations in which the proxy names the client ----


def haproxy_with(frontend="mode http", server_option=""):
    def configure(folder, port, server):
        address = f"unix@{server.socket}" if server.socket else f"127.0.0.1:{server.port}"
        configuration = f"""
            {HAPROXY_DEFAULTS}

            listen clients
                {frontend}
                bind 127.0.0.1:{port}
                server portal {address} {server_option}
        """
        return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"], {"haproxy.cfg": configuration}

    return configure


def nginx_stream(folder, port, server):
    address = f"unix:{server.socket}" if server.socket else f"127.0.0.1:{server.port}"
    configuration = f"""
        load_module /usr/lib/nginx/modules/ngx_stream_module.so;
        daemon off;
        worker_processes 1;
        pid {folder}/nginx.pid;
        error_log stderr;
        events {{ worker_connections 1024; }}
        stream {{
            server {{
                listen 127.0.0.1:{port};
                proxy_pass {address};
                proxy_protocol on;
            }}
        }}
    """
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    return command, {"nginx.conf": configuration}


def nginx_with(header):
    def configure(folder, port, server):
        command, files = nginx(folder, port, server)
        pass_on = "proxy_set_header Upgrade $http_upgrade;"
        return command, {name: text.replace(pass_on, f"{pass_on}\nproxy_set_header {header};")
                         for name, text in files.items()}

    return configure


# With what the server has to be told: whether PROXY headers come, and an entry of TRUSTED_PROXIES.
NAMING = {
    "haproxy-v1": (haproxy_with("mode tcp", "send-proxy"), 1, ""),
    "haproxy-v2": (haproxy_with("mode tcp", "send-proxy-v2"), 1, ""),
    "haproxy-forwardfor": (haproxy_with("mode http\noption forwardfor"), 0, ""),
    "haproxy-both": (haproxy_with("mode http\noption forwardfor", "send-proxy-v2"), 1, ""),
    "nginx-stream": (nginx_stream, 1, ""),
    "nginx-forwarded-for": (nginx_with("X-Forwarded-For $proxy_add_x_forwarded_for"), 0, ""),
    "nginx-forwarded": (nginx_with('Forwarded "for=$remote_addr"'), 0, "forwarded"),
    "httpd": (PROXIES["httpd"], 0, ""),
    "caddy": (caddy, 0, ""),
}


# ---- running ----


class Proxy:
    """A running proxy."""

    def __init__(self, name, port, process, log):
        self.name, self.port, self.process, self.log = name, port, process, log

    def url(self, path):
        return f"ws://127.0.0.1:{self.port}{path}"

    def ask(self, path, method="GET"):
        """The status and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def wait_until_it_serves(self):
        """Until it answers anything: it may listen, and end then because of its configuration."""
        deadline = time.monotonic() + DEADLINE
        while True:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                return self.ask("/health")
            assert self.process.poll() is None, f"{self.name} has ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name} does not serve:\n{self.log.read_text()}"
            time.sleep(0.01)


def nobody():
    """Who the proxies run as, when root runs the tests."""
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def give_to_nobody(path):
    if identity := nobody():
        os.chown(path, identity["user"], identity["group"])


@contextlib.contextmanager
def folder_for_nobody():
    folder = Path(tempfile.mkdtemp(prefix="portal-proxy-"))
    try:
        give_to_nobody(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def reserved_port():
    """A free port of 127.0.0.1. While this socket, which does not listen, is bound to it, only who asks
    for this port gets it."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind(("127.0.0.1", 0))
        yield reserving.getsockname()[1]


@contextlib.contextmanager
def proxying(name, server, configure=None):
    """The proxy of this name in front of a server, for as long as the block runs."""
    configure = configure or PROXIES[name]
    with folder_for_nobody() as folder, reserved_port() as port:
        command, files = configure(folder, port, server)
        for file, text in files.items():
            (folder / file).write_text("".join(f"{line.strip()}\n" for line in text.splitlines()))
        log = folder / "log"
        environment = {"HOME": str(folder), "PATH": f"{os.environ['PATH']}:{SYSTEM_PATH}"}
        log.touch()
        give_to_nobody(log)
        with log.open("w") as output:
            # A session of its own, so that its workers can be ended with it.
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, **nobody())
        try:
            proxy = Proxy(name, port, process, log)
            proxy.wait_until_it_serves()
            yield proxy
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
