"""A steady load of reads and writes through the edge, and the account of what became of every one of them."""
import threading
import time
import uuid


class Load:
    """`with Load(stack) as load:` runs readers and writers until the block ends."""

    def __init__(self, stack, readers=3, writers=2):
        self.stack, self.readers, self.writers = stack, readers, writers
        self.read_ok, self.read_failed = 0, []
        self.written, self.write_failed, self.told_later = {}, [], 0
        self.ending = threading.Event()
        self.threads = []

    def __enter__(self):
        maker = self.stack.client()
        reply = maker.call("POST", "/v1/users", {"email": f"reader-{uuid.uuid4().hex}@example.org"})
        maker.close()
        assert reply.status in (200, 201), reply
        self.user = reply.json["id"]
        jobs = [self.read] * self.readers + [self.write] * self.writers
        self.threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(40)

    def read(self):
        client = self.stack.client()
        while not self.ending.is_set():
            try:
                reply = client.call("GET", f"/v1/users/{self.user}")
            except Exception as broken:  # pylint: disable=broad-except
                reply = repr(broken)
            if getattr(reply, "status", 0) == 200:
                self.read_ok += 1
            else:
                self.read_failed.append(reply)
            time.sleep(0.002)
        client.close()

    def write(self):
        client = self.stack.client()
        while not self.ending.is_set():
            self.write_one(client, f"w-{uuid.uuid4().hex}@example.org", uuid.uuid4().hex)
            time.sleep(0.005)
        client.close()

    def write_one(self, client, email, operation):
        """Repeats one operation while it is told to come back; its Idempotency-Key stays the same."""
        for _ in range(20):
            try:
                reply = client.call("POST", "/v1/users", {"email": email}, {"Idempotency-Key": operation})
            except Exception as broken:  # pylint: disable=broad-except
                self.write_failed.append(repr(broken))
                return
            if reply.status in (200, 201):
                self.written[email] = reply.json["id"]
                return
            if reply.status != 503 or "retry-after" not in reply.headers:
                self.write_failed.append(reply)
                return
            self.told_later += 1
            time.sleep(0.2)
        self.write_failed.append(f"{email}: told 20 times to come back")

    def check_reads(self):
        assert not self.read_failed, f"{len(self.read_failed)} of {self.read_ok + len(self.read_failed)} reads failed: {self.read_failed[:5]}"
        assert self.read_ok > 100, f"only {self.read_ok} reads were made"

    def check_writes(self, refused=None):
        """No write failed, none was lost, none was done twice. refused: how many may have been told to come back."""
        assert not self.write_failed, f"{len(self.write_failed)} of {len(self.written)} writes failed: {self.write_failed[:5]}"
        assert len(self.written) > 20, f"only {len(self.written)} writes were made"
        if refused is not None:
            assert self.told_later <= refused, f"{self.told_later} writes were refused with 503"
        client = self.stack.client()
        emails = list(self.written)
        for start in range(0, len(emails), 200):
            found = client.call("POST", "/v1/users/lookup", {"emails": emails[start:start + 200]})
            assert found.status == 200, found
            assert {user["email"]: user["id"] for user in found.json["data"]} == {email: self.written[email] for email in emails[start:start + 200]}
        client.close()


def events_of(client, kind):
    """Subjects of all events of a kind in the feed, in order; checks that the numbers have no gap."""
    subjects, after = [], 0
    while True:
        page = client.call("GET", f"/v1/events?after={after}&limit=500")
        assert page.status == 200, page
        if not page.json["data"]:
            return subjects
        for event in page.json["data"]:
            assert int(event["seq"]) == after + 1, f"the feed goes from {after} to {event['number']}"
            after = int(event["seq"])
            if event["event"]["type"] == kind:
                subjects.append(event["event"]["subject"])
