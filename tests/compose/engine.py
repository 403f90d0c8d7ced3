"""A Docker engine for the tests: the one that answers, or one that is started here and stopped at the end."""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SEC = 60


class Unusable(Exception):
    """The machine lacks something; the text says what."""


def run(command, timeout=60, **options):
    """Runs a command; returns (exit status, joined output)."""
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, **options)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace") + f"\ntimed out after {timeout} s"


def tail(text, lines=15):
    return "\n".join(text.splitlines()[-lines:])


def answers():
    return run(["docker", "info"], timeout=20)[0] == 0


class Engine:
    """`with Engine():` an engine answers, and has the image debian:bookworm-slim."""

    def __init__(self):
        self.daemon = self.log = None

    def __enter__(self):
        if not shutil.which("docker"):
            raise Unusable("the command docker is missing: apt-get install docker.io docker-compose debootstrap")
        try:
            if not answers():
                self.start()
            status, output = run([HERE / "base_image.sh"], timeout=600)
            if status:
                raise Unusable(f"the image debian:bookworm-slim can be neither pulled nor made:\n{tail(output)}")
        except BaseException:
            self.stop()
            raise
        return self

    def start(self):
        if os.getuid() != 0:
            raise Unusable("no Docker engine answers, and starting one needs root: run the tests as root or start dockerd")
        if not shutil.which("dockerd"):
            raise Unusable("no Docker engine answers and dockerd is missing: apt-get install docker.io")
        self.log = tempfile.NamedTemporaryFile(prefix="denizen-dockerd-", suffix=".log")
        self.daemon = subprocess.Popen(["dockerd"], stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        until = time.monotonic() + START_SEC
        while not answers():
            if self.daemon.poll() is not None or time.monotonic() > until:
                said = tail(Path(self.log.name).read_text(errors="replace"))
                raise Unusable(f"dockerd does not start on this machine; its last lines:\n{said}")
            time.sleep(0.3)

    def stop(self):
        if self.daemon is None:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.daemon = None
        self.log.close()

    def __exit__(self, *_):
        self.stop()
