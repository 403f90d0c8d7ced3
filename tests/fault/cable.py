"""A cable between a subscriber and the ledger's two ports, which can be held and cut."""
import socket
import threading

HINTS = 1000  # PUB listens so many ports above


class Line:
    """One connection: two threads carry its bytes."""

    def __init__(self, cable, near, port):
        self.cable, self.near = cable, near
        self.far = socket.create_connection(("127.0.0.1", port))
        for source, target, may_go in ((near, self.far, None), (self.far, near, cable.flows)):
            threading.Thread(target=self.carry, args=(source, target, may_go), daemon=True).start()

    def carry(self, source, target, may_go):
        try:
            while data := source.recv(1 << 16):
                if may_go:
                    may_go.wait()
                target.sendall(data)
        except OSError:
            pass
        self.cut()

    def cut(self):
        """Ends both sides. What was carried before still arrives, and the end right behind it."""
        for side in (self.near, self.far):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Cable:
    """Listens on `port` and `port` + 1000 for one subscriber and carries its connections to the ledger's ports."""

    def __init__(self, port, to):
        self.flows, self.lines, self.cuts = threading.Event(), [], 0
        self.flows.set()
        self.listeners = [socket.create_server(("127.0.0.1", port + at)) for at in (0, HINTS)]
        for listener, target in zip(self.listeners, (to, to + HINTS)):
            threading.Thread(target=self.accept, args=(listener, target), daemon=True).start()

    def accept(self, listener, target):
        while True:
            try:
                near, _ = listener.accept()
                self.lines.append(Line(self, near, target))
            except OSError:
                if listener.fileno() < 0:
                    return

    def hold(self):
        """Nothing comes from the ledger any more until it is let go or cut."""
        self.flows.clear()

    def let_go(self):
        self.flows.set()

    def cut(self):
        """Breaks every connection."""
        lines, self.lines = self.lines, []
        for line in lines:
            line.cut()
        self.cuts += len(lines)

    def close(self):
        for listener in self.listeners:
            listener.close()
        self.let_go()
        self.cut()
