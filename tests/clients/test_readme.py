"""The README's program compiles without a warning, and serves."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import websockets.sync.client

from program import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
LIBRARY_FOLDER = os.environ["LIBRARY_FOLDER"]


def example(port):
    """The README's C program, which listens on another port than 4433; 0: one that the system chooses."""
    program = re.search(r"```c\n(#include.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert program.count("4433") == 1
    return program.replace("4433", str(port))


def fragments():
    """Its other lines of C, each as it stands inside of a function."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```c\n(?!#include)(.*?)```", text, re.DOTALL)


COMPILER = [os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]


def compile_to(folder, port=0):
    source, program = folder / "example.c", folder / "example"
    source.write_text(example(port))
    command = [*COMPILER, source, "-o", program]
    command += [f"-L{LIBRARY_FOLDER}", f"-Wl,-rpath,{LIBRARY_FOLDER}", "-lportal"]
    subprocess.run(command, check=True)
    return program


def listening_port(process):
    """The port on which a process listens, or None: its listening sockets are those among its descriptors."""
    links = (os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir())
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in links}
    for table in ["tcp", "tcp6"]:
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if inode in sockets and state == "0A":
                return int(local.rpartition(":")[2], 16)
    return None


def wait_for_port(process):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and process.poll() is None:
        if port := listening_port(process.pid):
            return port
        time.sleep(0.01)
    raise AssertionError("the program does not listen")


def test_the_example_of_the_readme_compiles_without_a_warning_and_echoes(tmp_path):
    process = subprocess.Popen([compile_to(tmp_path)])
    try:
        url = f"ws://localhost:{wait_for_port(process)}/echo"
        with websockets.sync.client.connect(url, proxy=None, open_timeout=DEADLINE) as client:
            client.send("hello")
            assert client.recv(DEADLINE) == "hello"
    finally:
        process.kill()
        process.wait()


def test_the_example_of_the_readme_says_why_it_cannot_serve(tmp_path):
    with socket.create_server(("", 0)) as taken:
        program = compile_to(tmp_path, taken.getsockname()[1])
        ended = subprocess.run([program], timeout=DEADLINE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "Address already in use" in ended.stderr


def test_the_other_c_of_the_readme_compiles_without_a_warning(tmp_path):
    assert len(fragments()) >= 2
    for fragment in fragments():
        result = "status" if " status = " in fragment else "0"
        source = tmp_path / "fragment.c"
        source.write_text(
            "#include <portal.h>\nportal_server server;\nportal_options *options;\nint main(void)\n"
            f"{{\n{fragment}return {result};\n}}\n"
        )
        subprocess.run([*COMPILER, "-fsyntax-only", source], check=True)
