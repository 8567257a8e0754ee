"""A Hugging Face Hub on this machine: as much of its HTTP as pushing and loading ask for.

It keeps repositories in memory, one commit after the other, and asks for the token WRITER to write.
"""

import base64
import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

WRITER = "hf_writer"


@dataclass
class Hub:
    """The repositories by name: who may see them, and the files of every commit."""

    private: dict[str, bool] = field(default_factory=dict)
    commits: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    breaks: bool = False  # whether every answer is an error of the server
    url: str = ""

    def files(self, name):
        return self.commits[name][-1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *words):
        self.hub.asked.append(self.requestline)

    def answer(self, code, data=None, **headers):
        body = data if isinstance(data, bytes) else json.dumps(data or {}).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code, error):
        self.answer(code, {"error": error}, X_Error_Code=error, X_Error_Message=error)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self):
        body = self.body()
        parts = unquote(self.path).strip("/").split("/")
        if self.hub.breaks:
            return self.refuse(500, "Broken")
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {WRITER}":
            return self.refuse(401, "Unauthorized")
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        name, what = "/".join(parts[2:4]), parts[4]
        if what == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        assert what == "commit", self.path
        return self.commit(name, body)

    def create(self, asked):
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        name = name if "/" in name else f"user/{name}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.private:
            return self.answer(409, {"error": "exists", "url": url})
        self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.commits[name] = [{}]
        return self.answer(200, {"url": url, "name": name, "id": name})

    def commit(self, name, body):
        files = dict(self.hub.files(name))
        for line in body.splitlines():
            each = json.loads(line)
            if each["key"] == "file":
                files[each["value"]["path"]] = base64.b64decode(each["value"]["content"])
        self.hub.commits[name].append(files)
        number = len(self.hub.commits[name]) - 1
        url = f"{self.hub.url}/{name}/commit/{number}"
        return self.answer(200, {"commitUrl": url, "commitOid": f"{number:040x}"})

    def do_GET(self):
        if self.hub.breaks:
            return self.refuse(500, "Broken")
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        name = "/".join(parts[:2])
        if name not in self.hub.commits:
            return self.refuse(401, "RepoNotFound")
        assert parts[2] == "resolve", self.path
        commits = self.hub.commits[name]
        numbers = {"main": len(commits) - 1, **{f"{i:040x}": i for i in range(len(commits))}}
        if parts[3] not in numbers:
            return self.refuse(404, "RevisionNotFound")
        number = numbers[parts[3]]
        content = commits[number].get("/".join(parts[4:]))
        if content is None:
            return self.refuse(404, "EntryNotFound")
        etag = hashlib.sha256(content).hexdigest()
        return self.answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=f"{number:040x}")

    do_HEAD = do_GET


@contextmanager
def hub_on_this_machine():
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
