"""A hub on this machine: repositories in memory, served over the routes that ``huggingface_hub`` asks for."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """``repositories``: name -> {revision -> {file name -> bytes}}. ``asked`` lists what was asked for, as "GET path".

    ``status`` other than 200 is the answer to everything; ``frozen`` takes connections and never answers.
    """

    def __init__(self, repositories):
        self.repositories, self.asked, self.status, self.frozen = repositories, [], 200, threading.Event()
        self.end = threading.Event()

    def commit(self, repository, revision):
        """The commit of a revision (a name or the commit itself), or ``None``."""
        for name in self.repositories[repository]:
            commit = hashlib.sha1(f"{repository}@{name}".encode()).hexdigest()
            if revision in (name, commit):
                return name, commit
        return None

    def answer(self, path):
        """(status, headers, body) of a request."""
        if self.status != 200:
            return self.status, {}, b"{}"
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        length = next((n for n in (1, 2) if "/".join(parts[:n]) in self.repositories), None)
        if length is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        repository, rest = "/".join(parts[:length]), parts[length:] or ["revision", "main"]
        found = self.commit(repository, rest[1])
        if found is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files, commit = self.repositories[repository][found[0]], found[1]
        if api:
            listing = [{"rfilename": name} for name in files]
            return 200, {}, json.dumps({"id": repository, "sha": commit, "siblings": listing}).encode()
        body = files.get("/".join(rest[2:]))
        if body is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        return 200, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": commit}, body


@contextmanager
def serve(repositories):
    """A running :class:`Hub`; its address is ``hub.url``."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            hub.asked.append(f"{self.command} {self.path}")
            if hub.frozen.is_set():
                hub.end.wait(60)
                return
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.end.set()
        server.shutdown()
        server.server_close()
